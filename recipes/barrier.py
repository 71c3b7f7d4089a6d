"""Barriers: a gate that one closes and many wait at; and a double barrier, where n parties begin and end together.

*What it guarantees.* :meth:`Barrier.wait` returns after the barrier was removed (or if there is none), and never
before; also if it is set up again at once. :class:`DoubleBarrier`: nobody's :meth:`~DoubleBarrier.enter` returns
before n parties have entered, and nobody's :meth:`~DoubleBarrier.leave` before all of them have left. Exactly n
make a round: the party that is one too many, or early for the next round, waits until this one has ended.

*What it does not.* A party that dies while the others still gather was never there: they wait for another in its
place. One that dies *inside* has left, as soon as its session is over: the others are not held up by it, and are
not told. Neither stops what a party does inside when its own session ends. A barrier whose maker dies stays, unless
it is ``ephemeral``.

*What to do about that.* Give waits a deadline. Where all have to *finish*, let each say so where the others look,
for instance by a :class:`~coord.recipes.latch.Latch` inside. Look at ``client.state``, or hold a membership while
inside (:mod:`coord.recipes.membership`), whose block is cancelled when the session ends.

::

    import anyio
    from coord.recipes.barrier import Barrier, DoubleBarrier

    barrier = Barrier(client, "/migration")
    await barrier.create()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(barrier.wait)
        await barrier.remove()

    async def party(number: int) -> None:
        async with DoubleBarrier(client, "/load-test", 3):
            pass  # all three are here

    async with anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(party, number)
"""

from collections.abc import Iterable
from functools import partial
from math import inf
from secrets import token_hex
from types import TracebackType
from typing import Any, Final, Self

from coord.client import (
    Cache,
    Cached,
    Client,
    Create,
    Exists,
    ExistsOp,
    InvalidRequest,
    Kind,
    MultiResult,
    NotFound,
    Set,
    when,
)
from coord.recipes.arguments import Deadline, below, checked_client, checked_int, checked_path, wait_for
from coord.recipes.scope import undo


class Barrier:
    """Closed while there is a znode at ``path``: ``Barrier(client, "/migration")``."""

    def __init__(self, client: Client, path: str) -> None:
        self._client = checked_client(client)
        self._path = checked_path(path, "a barrier")

    async def create(self, *, ephemeral: bool = False, deadline: float | None = None) -> bool:
        """Close it; says whether it was open. ``ephemeral``: it opens by itself when this client's session ends."""
        try:
            await self._client.create(self._path, ephemeral=ephemeral, parents=True, deadline=deadline)
        except Exists:
            return False
        return True

    async def remove(self, *, deadline: float | None = None) -> bool:
        """Open it: all who wait go on. Says whether it was closed."""
        try:
            await self._client.delete(self._path, deadline=deadline)
        except NotFound:
            return False
        return True

    async def wait(self, *, deadline: float | None = None) -> None:
        """Wait until it is open. ``deadline``: :class:`~coord.client.DeadlineExceeded` (refused: nothing was to
        happen).

        *Cancellation* leaves nothing behind.
        """
        due = Deadline(self._client, deadline)
        async with self._client.cache(self._path, values=False, deadline=due.left) as cache:
            closed = cache.get(self._path)
            if closed is None:
                return

            def removed() -> bool:
                # It may be there again already: another barrier, which others wait at.
                now = cache.get(self._path)
                return now is None or now.created_revision != closed.created_revision

            await wait_for(cache, removed, due, f"the barrier at {self._path!r:.80} was not removed in time")


GATHERING: Final = b"gathering %d"
INSIDE: Final = b"inside %d"


class DoubleBarrier:
    """``parties`` of them begin together and end together: ``async with DoubleBarrier(client, "/load-test", 3): …``

    Each party is an ephemeral child of ``path``, whose value says how far a round is. Both change in one step,
    decided by the service:

    - *gathering*: whoever comes is a child. The last of the n makes it *inside*, in the revision in which it comes.
    - *inside*: nobody comes, until nobody is left in there (those who died are not). Whoever comes then makes it
      *gathering* again.

    So a party that is inside sees *inside* until it leaves, and whoever has left sees either no child or another
    version of ``path``, also if the next round has begun meanwhile. One object is one party.
    """

    def __init__(self, client: Client, path: str, parties: int, *, deadline: float | None = None) -> None:
        """``deadline`` is for entering, and for leaving, unless these say otherwise."""
        self._client = checked_client(client)
        self._deadline = deadline
        self._path = checked_path(path, "a double barrier")
        self._parties = checked_int(parties, 1, "the number of parties")
        self._gathering = GATHERING % parties
        self._inside = INSIDE % parties
        self._me: str | None = None
        """The path of this party, from when it begins to enter until it has left."""

    async def enter(self, *, deadline: float | None = None) -> None:
        """Come, and wait until all have. Past ``deadline``, :class:`~coord.client.DeadlineExceeded` (refused), and
        when cancelled, it has gone again; if all had come just then, it has left a round that the others are in.
        """
        if self._me is not None:
            raise InvalidRequest("this party has entered already; another party is another DoubleBarrier")
        due = Deadline(self._client, self._deadline if deadline is None else deadline)
        # Before there is a wait: a second task that enters by this object would make a party that nobody knows of.
        me = self._me = below(self._path, f"party-{token_hex(8)}")
        try:
            async with self._client.cache(self._path, deadline=due.left) as cache:
                try:
                    while (round_before := await self._come(me, due)) is not None:
                        over = partial(self._is_over, cache, round_before)
                        await wait_for(cache, over, due, self._late("the round before had ended"))
                    inside = lambda: _value(cache.get(self._path)) == self._inside  # noqa: E731
                    await wait_for(cache, inside, due, self._late("all had come"))
                except BaseException:
                    await self._withdraw(me)
                    raise
        except BaseException:
            self._me = None
            raise

    async def leave(self, *, deadline: float | None = None) -> None:
        """Leave, and wait until all have. Past ``deadline``, and when cancelled, this party has left all the same."""
        due = Deadline(self._client, self._deadline if deadline is None else deadline)
        me, self._me = self._me, None
        if me is None:
            raise InvalidRequest("this party has not entered")
        left = False
        try:
            async with self._client.cache(self._path, deadline=due.left) as cache:
                entry = cache.get(self._path)
                version = -1 if entry is None else entry.version  # while it is inside, it stays so
                await self._go(me, due.left)
                left = True
                over = partial(self._is_over, cache, version)
                await wait_for(cache, over, due, self._late("all had left"))
        except BaseException:
            if not left:
                await self._withdraw(me)
            raise

    async def __aenter__(self) -> Self:
        await self.enter()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc is None:
            await self.leave()
        else:
            me, self._me = self._me, None
            await self._withdraw(me)  # its own error is on its way, and does not wait for others

    # --- inside ---

    async def _come(self, me: str, due: Deadline) -> int | None:
        """``None``: it has come. Else the version of ``path`` in the round that others are inside of.

        Each turn of the loop is lost to somebody who came or went just then.
        """
        path, come = self._path, Create(me, kind=Kind.EPHEMERAL)

        async def multi(*arguments: Iterable[Any]) -> MultiResult:
            return await self._client.multi(*arguments, deadline=due.left)

        gathering = when.value(path) == self._gathering
        inside = when.value(path) == self._inside
        while True:
            result = await multi(
                [gathering, when.child_count(path) < self._parties - 1], [come], [ExistsOp(path)]
            )
            if result.succeeded:
                return None
            if result.results[0] is None:
                await multi([when.missing(path)], [Create(path, self._gathering, parents=True)])
                continue
            result = await multi(
                [gathering, when.child_count(path) == self._parties - 1], [come, Set(path, self._inside)]
            )
            if result.succeeded:
                return None
            begun = Set(path, self._gathering if self._parties > 1 else self._inside)
            result = await multi([inside, when.child_count(path) == 0], [begun, come])
            if result.succeeded:
                return None
            try:
                znode = await self._client.get(path, deadline=due.left)
            except NotFound:
                continue
            if znode.value == self._inside and znode.stat.child_count:
                return znode.stat.version
            if znode.value == self._gathering and znode.stat.child_count >= self._parties:
                # The last party would have made it inside: nobody could come, and this would go round for ever.
                raise InvalidRequest(
                    f"there are {znode.stat.child_count} znodes below {path!r:.80}, where a double barrier of "
                    f"{self._parties} parties gathers: not all of them are parties; it wants a path of its own"
                )
            if znode.value not in (self._inside, self._gathering):
                raise InvalidRequest(
                    f"the double barrier at {path!r:.80} is {znode.value!r:.40}, and not for {self._parties} parties; "
                    "all say the same number, and for another one the znode is deleted first"
                )

    async def _go(self, me: str, seconds: float) -> None:
        try:
            await self._client.delete(me, deadline=seconds)
        except NotFound:
            pass  # it had not come yet, or somebody has deleted it

    async def _withdraw(self, me: str | None) -> None:
        if me is not None:
            await undo(self._client, partial(self._go, me, inf))

    def _is_over(self, cache: Cache, version: int) -> bool:
        entry = cache.get(self._path)
        return entry is None or entry.version != version or not cache.children(self._path)

    def _late(self, what: str) -> str:
        return f"the deadline passed before {what} at the double barrier {self._path!r:.80}"


def _value(entry: Cached | None) -> bytes | None:
    return None if entry is None else entry.value
