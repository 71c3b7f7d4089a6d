"""A latch (a countdown): many wait until something has been done so many times. It opens once, and stays open.

*What it guarantees.* Each :meth:`Latch.count_down` counts exactly once, also over lost connections and a new
leader; it is one request, and those of many never hold each other up. :meth:`Latch.wait` returns after the last of
them and not before; also if the latch is deleted right after. A latch that is open lets everybody pass, also those
who come later.

*What it does not.* It does not know who counts: a worker that dies before it has counted is missed for good, and
one that counts twice (because it was started twice) is counted twice. A client that was away for longer than
members' history reaches back does not learn of a latch that was opened and deleted meanwhile: it waits for its
deadline.

*What to do about that.* Give waits a deadline. Where workers may die, count what they have *done* (a znode for each
job, whose create can succeed once only), or wait on the members of a group: :mod:`coord.recipes.membership`.

::

    from coord.recipes.latch import Latch

    latch = Latch(client, "/deploy/42/warm", 2)
    print(await latch.count_down(), await latch.remaining())  # → 1 1
    print(await latch.count_down())  # → 0
    await latch.wait(deadline=5)
"""

from typing import cast

import anyio

from coord.client import (
    Client,
    Create,
    DeadlineExceeded,
    ExistsOp,
    InvalidRequest,
    NotFound,
    Set,
    Written,
    when,
)
from coord.recipes.arguments import Deadline, checked_client, checked_int, checked_path


class Latch:
    """Opens when :meth:`count_down` was called ``count`` times: ``Latch(client, "/deploy/42/warm", 3)``.

    Whoever comes first makes the znode. Its value is the count, its version how many have counted. All must say the
    same count; :class:`~coord.client.InvalidRequest` (refused) says so where they do not. For another round take
    another path, or delete it.
    """

    def __init__(self, client: Client, path: str, count: int) -> None:
        self._client = checked_client(client)
        self._path = checked_path(path, "a latch")
        self._count = checked_int(count, 1, "a latch's count")

    async def count_down(self, *, deadline: float | None = None) -> int:
        """Count one; returns how many are missing still. On a latch that is open it does nothing more."""
        due = Deadline(self._client, deadline)
        value = b"%d" % self._count
        count = Set(self._path, value)
        while True:
            result = await self._client.multi(
                [when.value(self._path) == value],
                then=[count],
                otherwise=[ExistsOp(self._path)],
                deadline=due.left,
            )
            if not result.succeeded and result.results[0] is None:
                result = await self._client.multi(
                    [when.missing(self._path)],
                    then=[Create(self._path, value, parents=True), count],
                    deadline=due.left,
                )
            if result.succeeded:
                return max(self._count - cast(Written, result.results[-1]).version, 0)
            await self.remaining(deadline=due.left)  # says so, if the count is another

    async def remaining(self, *, deadline: float | None = None) -> int:
        """How many are missing still."""
        try:
            znode = await self._client.get(self._path, deadline=deadline)
        except NotFound:
            return self._count
        self._check(znode.value)
        return max(self._count - znode.stat.version, 0)

    async def wait(self, *, deadline: float | None = None) -> None:
        """Wait until it is open. ``deadline``: :class:`~coord.client.DeadlineExceeded` (refused: nothing was to
        happen).

        *Cancellation* leaves nothing behind.
        """
        due = Deadline(self._client, deadline)
        # A watch and not a cache: that tells the latest, and one who opens the latch may delete it at once.
        async with self._client.watch(self._path, deadline=due.left) as events:
            if await self.remaining(deadline=due.left) == 0:
                return
            with anyio.move_on_after(due.left):
                async for event in events:
                    # Whatever was done to it: after a gap one that is open may be told as created.
                    if event.value is not None:
                        self._check(event.value)
                    if event.version >= self._count:
                        return
        raise DeadlineExceeded(f"the latch at {self._path!r:.80} was not open in time", outcome="refused")

    def _check(self, value: bytes) -> None:
        if value != b"%d" % self._count:
            raise InvalidRequest(
                f"the latch at {self._path!r:.80} is for another count, {value!r:.20}, and not for {self._count}"
            )
