"""Validation of op rows that a client sent: total, and part of decoding them.

A row that passes here cannot make the store do anything but apply or refuse it. Each function raises
:class:`InvalidRequest` or :class:`LimitExceeded` (both refused) for one op; the frame it came in, and
the other ops in it, are not the worse for it.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final

from coord.api.errors import InvalidRequest, LimitExceeded
from coord.api.ops import (
    CREATE,
    DELETE,
    EXISTS,
    GET,
    LIST,
    LOG,
    MULTI,
    SESSIONS,
    SET,
    STATUS,
    CreateFlag,
    DeleteFlag,
    Kind,
    ListFlag,
    Operator,
    Row,
    SetFlag,
    Target,
)
from coord.api.paths import check_path, is_valid
from coord.limits import MemberLimits

INT_MAX: Final = 2**63 - 1
TTL_MAX_MS: Final = 10 * 365 * 24 * 3_600_000

_is_valid = lru_cache(maxsize=8192)(is_valid)
"""Clients use the same paths again and again, and the pattern costs three times the look-up."""


def check_op(op: Any, limits: MemberLimits) -> Row:
    """Return ``op`` if it is a valid row; raise (refused) otherwise."""
    if type(op) is not list or not op or type(op[0]) is not int:
        raise InvalidRequest("an op is a list that starts with its code")
    validator = _VALIDATORS.get(op[0])
    if validator is None:
        raise InvalidRequest(f"there is no op with the code {op[0]}")
    validator(op, limits)
    return op


def _fields(op: list[Any], count: int, what: str) -> None:
    if len(op) != count + 1:
        raise InvalidRequest(f"{what} has {count} fields after its code, not {len(op) - 1}")


def _path(path: Any) -> None:
    if type(path) is not str:
        raise InvalidRequest(f"a path is text, not {type(path).__name__}")
    if not _is_valid(path):
        check_path(path)


def _value(value: Any) -> None:
    if type(value) is not bytes:
        raise InvalidRequest(f"a value is bytes, not {type(value).__name__}")


def check_int(value: Any, low: int, high: int, what: str) -> int:
    """Return ``value`` if it is an int in ``[low, high]``; raise :class:`InvalidRequest` (refused) otherwise."""
    if type(value) is not int or not low <= value <= high:
        raise InvalidRequest(f"{what} is a whole number from {low} to {high}, not {value!r:.40}")
    return value


def _conditions(version: Any, revision: Any) -> None:
    if version is not None:
        check_int(version, 0, INT_MAX, "a version")
    if revision is not None:
        check_int(revision, 0, INT_MAX, "a revision")


def _create(op: list[Any], limits: MemberLimits) -> None:
    _fields(op, 5, "create")
    _, path, value, kind, flags, ttl_ms = op
    check_int(flags, 0, CreateFlag.SEQUENTIAL | CreateFlag.PARENTS, "create's flags")
    if flags & CreateFlag.SEQUENTIAL and type(path) is str:
        check_path(f"{path}{0:019d}")  # "/queue/" is a good prefix: the number alone is the name then
    else:
        _path(path)
    _value(value)
    check_int(kind, 0, max(Kind), "a kind of znode")
    if kind == Kind.TTL:
        check_int(ttl_ms, 1, TTL_MAX_MS, "a TTL znode's ttl_ms")
    elif ttl_ms != 0 or type(ttl_ms) is not int:
        raise InvalidRequest("ttl_ms is for TTL znodes; 0 for others")


def _set(op: list[Any], limits: MemberLimits) -> None:
    _fields(op, 5, "set")
    _, path, value, version, revision, flags = op
    _path(path)
    _value(value)
    _conditions(version, revision)
    check_int(flags, 0, SetFlag.CREATE | SetFlag.PARENTS, "set's flags")


def _delete(op: list[Any], limits: MemberLimits) -> None:
    _fields(op, 4, "delete")
    _, path, version, revision, flags = op
    _path(path)
    _conditions(version, revision)
    check_int(flags, 0, DeleteFlag.SUBTREE, "delete's flags")


def _get(op: list[Any], limits: MemberLimits) -> None:
    _fields(op, 3, "get")
    _path(op[1])
    _conditions(op[2], op[3])


def _exists(op: list[Any], limits: MemberLimits) -> None:
    _fields(op, 1, "exists")
    _path(op[1])


def _list(op: list[Any], limits: MemberLimits) -> None:
    _fields(op, 4, "list")
    _, path, flags, limit, after = op
    _path(path)
    check_int(flags, 0, ListFlag.VALUES | ListFlag.STATS, "list's flags")
    _page(limit, limits)
    if after is not None and (type(after) is not str or len(after) > 1024):
        raise InvalidRequest("list goes on after a name, or from the start with null")


def _page(limit: Any, limits: MemberLimits) -> None:
    check_int(limit, 1, INT_MAX, "a page's limit")
    if limit > limits.list_page:
        raise LimitExceeded(
            f"a page of {limit}; at most {limits.list_page} (limit list_page): go on after the last name",
            {"limit": "list_page", "maximum": limits.list_page},
        )


def _multi(op: list[Any], limits: MemberLimits) -> None:
    _fields(op, 3, "multi")
    _, compare, then, otherwise = op
    if not all(type(part) is list for part in (compare, then, otherwise)):
        raise InvalidRequest("multi has three lists: comparisons, then, else")
    for each in compare:
        _compare(each)
    for position, each in enumerate((*then, *otherwise)):
        if type(each) is not list or not each or type(each[0]) is not int or each[0] not in _IN_MULTI:
            raise InvalidRequest(
                f"op {position} of the multi is none of create, set, delete, get, exists, list"
            )
        _VALIDATORS[each[0]](each, limits)


def _compare(row: Any) -> None:
    if type(row) is not list or len(row) != 4:
        raise InvalidRequest("a comparison is [target, path, operator, operand]")
    target, path, operator, operand = row
    check_int(target, 1, max(Target), "a comparison's target")
    _path(path)
    check_int(operator, 0, max(Operator), "a comparison's operator")
    if target == Target.VALUE:
        if type(operand) is not bytes:
            raise InvalidRequest("a value is compared with bytes")
    elif target == Target.EXISTS:
        if type(operand) is not bool or operator not in (Operator.EQUAL, Operator.NOT_EQUAL):
            raise InvalidRequest("existence is compared with true or false, for equal or not equal")
    else:
        check_int(operand, 0, INT_MAX, "a comparison's operand")


def _log(op: list[Any], limits: MemberLimits) -> None:
    _fields(op, 2, "log")
    if op[1] is not None:
        check_int(op[1], 0, INT_MAX, "a revision")
    _page(op[2], limits)


def _sessions(op: list[Any], limits: MemberLimits) -> None:
    _fields(op, 2, "sessions")
    if op[1] is not None:
        check_int(op[1], 0, INT_MAX, "a session")
    _page(op[2], limits)


def _status(op: list[Any], limits: MemberLimits) -> None:
    _fields(op, 0, "status")


_VALIDATORS: Final[Mapping[int, Callable[[list[Any], MemberLimits], None]]] = {
    CREATE: _create,
    SET: _set,
    DELETE: _delete,
    GET: _get,
    EXISTS: _exists,
    LIST: _list,
    MULTI: _multi,
    LOG: _log,
    SESSIONS: _sessions,
    STATUS: _status,
}
_IN_MULTI: Final = (CREATE, SET, DELETE, GET, EXISTS, LIST)
