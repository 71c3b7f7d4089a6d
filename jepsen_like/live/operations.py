"""Ops from their rows: what the client library sends, as the values that a history holds."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from coord.api import ops
from coord.api.ops import (
    Claim,
    ClaimFirst,
    ClaimInfo,
    Claims,
    ClaimSettings,
    Compare,
    Create,
    Delete,
    Exists,
    Fence,
    FencedWrite,
    Get,
    HoldBack,
    Kind,
    Lane,
    List,
    Multi,
    Op,
    Operator,
    Release,
    Row,
    Set,
    SetLanes,
    Target,
    WatchScope,
)


def op_from_row(row: Row) -> Op | None:
    """The op that ``row`` is of; ``None`` for those that look at the service instead of the tree."""
    make = _MAKERS.get(row[0])
    return None if make is None else make(*row[1:])


def _create(path: str, value: bytes, kind: int, flags: int, ttl_ms: int) -> Create:
    sequential, parents = flags & ops.CreateFlag.SEQUENTIAL, flags & ops.CreateFlag.PARENTS
    return Create(path, value, Kind(kind), bool(sequential), bool(parents), ttl_ms)


def _set(path: str, value: bytes, version: int | None, revision: int | None, flags: int) -> Set:
    create, parents = flags & ops.SetFlag.CREATE, flags & ops.SetFlag.PARENTS
    return Set(path, value, version, revision, bool(create), bool(parents))


def _delete(path: str, version: int | None, revision: int | None, flags: int) -> Delete:
    flag = ops.DeleteFlag
    return Delete(path, version, revision, bool(flags & flag.SUBTREE), bool(flags & flag.MISSING_OK))


def _list(path: str, flags: int, limit: int, after: str | None) -> List:
    return List(path, bool(flags & ops.ListFlag.VALUES), bool(flags & ops.ListFlag.STATS), limit, after)


def _multi(compare: list[Any], then: list[Any], otherwise: list[Any]) -> Multi:
    def branch(rows: list[Any]) -> Any:
        return tuple(op_from_row(row) for row in rows)

    comparisons = tuple(
        Compare(Target(target), path, Operator(operator), operand)
        for target, path, operator, operand in compare
    )
    return Multi(comparisons, branch(then), branch(otherwise))


def _claim(path: str, flags: int, units: int, label: bytes, capacity: int = 0) -> Claim:
    flag = ops.ClaimFlag
    return Claim(
        path, bool(flags & flag.WAIT), bool(flags & flag.SHARED), units, label, bool(flags & flag.CREATE),
        bool(flags & flag.PARENTS), capacity,
    )  # fmt: skip


def _claim_first(parent: str, count: int, flags: int, label: bytes) -> ClaimFirst:
    flag = ops.ClaimFirstFlag
    return ClaimFirst(parent, count, bool(flags & flag.WAIT), bool(flags & flag.VALUES), label)


def _release(number: int, to: int, flags: int) -> Release:
    return Release(number, to, bool(flags & ops.ReleaseFlag.FORCE))


def _fenced(tokens: list[Any], op: Row) -> FencedWrite:
    inner: Any = op_from_row(op)
    return FencedWrite(tuple((incarnation, revision) for incarnation, revision in tokens), inner)


def _lanes(path: str, lanes: list[Any]) -> SetLanes:
    return SetLanes(path, tuple(Lane(*lane) for lane in lanes))


def _claims(path: str, scope: int, session: int | None, after: int | None, limit: int) -> Claims:
    return Claims(path, WatchScope(scope), session, after, limit)


_MAKERS: Final[Mapping[int, Callable[..., Op]]] = {
    ops.CREATE: _create,
    ops.SET: _set,
    ops.DELETE: _delete,
    ops.GET: Get,
    ops.EXISTS: Exists,
    ops.LIST: _list,
    ops.MULTI: _multi,
    ops.CLAIM: _claim,
    ops.CLAIM_FIRST: _claim_first,
    ops.RELEASE: _release,
    ops.CLAIM_SETTINGS: ClaimSettings,
    ops.HOLD_BACK: HoldBack,
    ops.LANES: _lanes,
    ops.FENCE: Fence,
    ops.FENCED_WRITE: _fenced,
    ops.CLAIMS: _claims,
    ops.CLAIM_INFO: ClaimInfo,
}
