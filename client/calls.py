"""How the calls of a client reach its core: deadlines, namespaces, typed answers. Half of
:class:`coord.client.client.Client`, whose other half is what its users call.
"""

from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, Final, NamedTuple, TypeVar, cast

from coord.api.commands import Reply
from coord.api.errors import CoordError, NotFound, ProtocolError
from coord.api.ops import CREATE, DELETE, FENCE, FENCED_WRITE, MULTI, SET, Get, List, Row
from coord.api.results import Page, Result, Znode
from coord.api.tokens import Token
from coord.client.core import Core
from coord.client.core.arguments import freshness
from coord.client.core.causality import Floor
from coord.client.core.engine import LINEARIZABLE
from coord.client.core.namespace import Namespace
from coord.client.core.request import Request, itself
from coord.client.link import Link

T = TypeVar("T")

MALFORMED: Final = (TypeError, ValueError, LookupError)
"""What an answer that is none of its op's meets with, on its way to a typed value."""

FENCEABLE: Final = (CREATE, SET, DELETE, MULTI, FENCE)
"""Codes of the writes that may have to present tokens."""


class Found(NamedTuple):
    """A znode, or that there is none, and the store's revision when that was so."""

    znode: Znode | None
    revision: int


class Calls:
    """One client's way to its core. Its namespaces are views: they share all of it but their root."""

    def __init__(
        self,
        link: Link,
        deadline: float,
        space: Namespace | None = None,
        floor: Floor | None = None,
        dice: Random | None = None,
        tokens: tuple[Token, ...] = (),
    ) -> None:
        self._link: Link = link
        self._hold = link.hold()
        self._core: Core = link.core
        self._deadline = deadline
        self._space = space
        self._tokens = tokens
        """Presented with every write."""
        self._floor = floor or Floor()
        # They only spread the tries of transactions that meet; nothing is decided by them.
        self._dice = dice or Random()

    def _seconds(self, deadline: float | None) -> float:
        return self._deadline if deadline is None else deadline

    # --- asking ---

    # Each op is asked for when these are called, and its answer is what they return, to be awaited. They are no
    # coroutines themselves: each that a call goes through is paid for twice, on the way in and at the waking.

    def _write(self, op: Row, deadline: float | None) -> Coroutine[Any, Any, Result]:
        link = self._link
        ends_at = link.deadline(self._seconds(deadline))
        if self._space is not None or self._tokens:
            op = self._outgoing(op)
        return link.finished(self._core.write(op, ends_at, link.waiter()), self._result)

    def _outgoing(self, op: Row) -> Row:
        """A write as it is sent: on whole paths, and with the tokens that it has to present."""
        if self._space is not None:
            op = self._space.op(op)
        if self._tokens and op[0] in FENCEABLE:
            op = [FENCED_WRITE, [[token.incarnation, token.revision] for token in self._tokens], op]
        return op

    def _read(
        self, op: Row, at_least: int | None, local: bool, deadline: float | None
    ) -> Coroutine[Any, Any, Result]:
        mode, revision = freshness(at_least, local, self._floor.revision)
        return self._asked(op, mode, revision, deadline, self._result)

    def _read_row(
        self, op: Row, at_least: int | None, local: bool, deadline: float | None
    ) -> Coroutine[Any, Any, Reply]:
        mode, revision = freshness(at_least, local, self._floor.revision)
        return self._asked(op, mode, revision, deadline, Request.row)

    def _asked(
        self, op: Row, mode: int, revision: int, deadline: float | None, answer: Callable[[Request], T]
    ) -> Coroutine[Any, Any, T]:
        link = self._link
        ends_at = link.deadline(self._seconds(deadline))
        if self._space is not None:
            op = self._space.op(op)
        return link.finished(self._core.read(op, mode, revision, ends_at, link.waiter()), answer)

    # --- for transactions: linearizable, and the revision also of what is not there ---

    async def _look(self, path: str, deadline: float) -> Found:
        """The znode at ``path``, if there is one."""
        request = await self._asked(Get(path).row(), LINEARIZABLE, 0, deadline, itself)
        try:
            znode = cast(Znode, self._result(request))
        except NotFound:
            return Found(None, _revision(request))
        return Found(znode, znode.revision)

    async def _look_below(self, path: str, after: str | None, deadline: float) -> tuple[Page | None, int]:
        """One page of the names of its children; ``None`` when there is no znode at ``path``."""
        request = await self._asked(List(path, after=after).row(), LINEARIZABLE, 0, deadline, itself)
        try:
            page = cast(Page, self._result(request))
        except NotFound:
            return None, _revision(request)
        return page, page.revision

    # --- answers ---

    def _result(self, request: Request) -> Result:
        if self._space is None:
            try:
                return request.result()
            except MALFORMED as error:
                raise _not_understood(error) from error
        try:
            return typed(self._space.result, typed(Request.result, request))
        except CoordError as error:
            raise self._space.error(error) from None


def _revision(request: Request) -> int:
    """At which a member said so."""
    if request.reply is None:
        raise RuntimeError("an answer without a reply")
    return int(request.reply[2])


def typed(make: Callable[..., T], *arguments: Any) -> T:
    """What a member answered, as typed values."""
    try:
        return make(*arguments)
    except MALFORMED as error:
        raise _not_understood(error) from error


def _not_understood(error: Exception) -> ProtocolError:
    return ProtocolError(f"an answer that this client does not understand: {error}")
