"""A multi, written down step by step: ``client.when(…).then.set(…).create(…).otherwise.get(…).commit()``."""

from collections.abc import Awaitable, Iterable
from typing import Protocol, Self

from coord.api.errors import InvalidRequest
from coord.api.ops import (
    BranchOp,
    Compare,
    Delete,
    Exists,
    Get,
    HoldBack,
    Kind,
    Lane,
    List,
    Multi,
    Release,
    Set,
    SetLanes,
)
from coord.api.results import MultiResult
from coord.client.core.arguments import PAGE, create_op, hold_back_ms, lanes_of


class Send(Protocol):
    """As :meth:`coord.client.Client.multi`."""

    def __call__(
        self,
        compare: Iterable[Compare],
        then: Iterable[BranchOp],
        otherwise: Iterable[BranchOp],
        *,
        deadline: float | None,
    ) -> Awaitable[MultiResult]: ...


class Conditions:
    """What has to hold; ``then`` and ``otherwise`` begin what is done about it."""

    def __init__(self, send: Send, compare: tuple[Compare, ...]) -> None:
        for each in compare:
            if not isinstance(each, Compare):
                raise InvalidRequest(
                    f"{each!r:.60} is not a condition: write when.version('/a') == 3, or when.missing('/a')"
                )
        self._send = send
        self._compare = list(compare)
        self._then: list[BranchOp] = []
        self._otherwise: list[BranchOp] = []

    def op(self) -> Multi:
        """What was written down so far, as an op: for a branch of another multi, or for ``client.multi``."""
        return Multi(tuple(self._compare), tuple(self._then), tuple(self._otherwise))

    @property
    def then(self) -> "Branch":
        """The ops that are done if all conditions hold."""
        return Branch(self, self._then)

    @property
    def otherwise(self) -> "Branch":
        """The ops that are done if one of them does not."""
        return Branch(self, self._otherwise)

    async def commit(self, *, deadline: float | None = None) -> MultiResult:
        """Send it: one branch is done whole, at one revision, or refused whole, with the error of one of its ops.

        ``MultiResult.succeeded`` says which branch it was, ``results`` has the result of each of its ops.
        """
        return await self._send(self._compare, self._then, self._otherwise, deadline=deadline)


class Branch:
    """One of the two branches. Each op is added to it, and the branch returned: so they can be chained, or added
    in a loop. The ops take what the client's methods of the same names take.
    """

    def __init__(self, conditions: Conditions, ops: list[BranchOp]) -> None:
        self._conditions = conditions
        self._ops = ops

    @property
    def then(self) -> "Branch":
        """Go on with what is done if all conditions hold."""
        return self._conditions.then

    @property
    def otherwise(self) -> "Branch":
        """Go on with what is done if one of them does not."""
        return self._conditions.otherwise

    async def commit(self, *, deadline: float | None = None) -> MultiResult:
        """Send both branches; see :meth:`Conditions.commit`."""
        return await self._conditions.commit(deadline=deadline)

    def op(self) -> Multi:
        """Both branches as an op; see :meth:`Conditions.op`."""
        return self._conditions.op()

    def multi(self, inner: "Conditions | Branch | Multi") -> Self:
        """A multi within this one, 4 deep at most: ``.then.multi(client.when(…).then.set(…))``. Its comparisons are
        looked at in its turn, when what stands before it is done. An op of it that is refused refuses the whole.
        """
        if isinstance(inner, Conditions | Branch):
            return self._add(inner.op())
        if not isinstance(inner, Multi):
            raise InvalidRequest(f"{inner!r:.60} is not a multi: write client.when(…).then.set(…)")
        return self._add(inner)

    # --- writes ---

    def create(
        self,
        path: str,
        value: bytes = b"",
        *,
        kind: Kind = Kind.PERSISTENT,
        ephemeral: bool = False,
        ttl: float | None = None,
        sequential: bool = False,
        parents: bool = False,
    ) -> Self:
        return self._add(create_op(path, value, kind, ephemeral, ttl, sequential, parents))

    def set(
        self,
        path: str,
        value: bytes,
        *,
        version: int | None = None,
        revision: int | None = None,
        create: bool = False,
        parents: bool = False,
    ) -> Self:
        return self._add(Set(path, value, version, revision, bool(create), bool(parents)))

    def delete(
        self,
        path: str,
        *,
        version: int | None = None,
        revision: int | None = None,
        subtree: bool = False,
        missing_ok: bool = False,
    ) -> Self:
        return self._add(Delete(path, version, revision, bool(subtree), bool(missing_ok)))

    # --- claims ---

    def release(self, number: int, *, force: bool = False) -> Self:
        return self._add(Release(number, 0, bool(force)))

    def hold_back(self, path: str, delay: float | None) -> Self:
        return self._add(HoldBack(path, hold_back_ms(delay)))

    def lanes(self, path: str, lanes: Iterable[Lane]) -> Self:
        return self._add(SetLanes(path, lanes_of(lanes)))

    # --- reads ---

    def get(self, path: str, *, version: int | None = None, revision: int | None = None) -> Self:
        return self._add(Get(path, version, revision))

    def exists(self, path: str) -> Self:
        return self._add(Exists(path))

    def list(
        self,
        path: str,
        *,
        values: bool = False,
        stats: bool = False,
        limit: int = PAGE,
        after: str | None = None,
    ) -> Self:
        return self._add(List(path, bool(values), bool(stats), limit, after))

    def _add(self, op: BranchOp) -> Self:
        self._ops.append(op)
        return self
