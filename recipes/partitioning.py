"""Work in N partitions, spread over the members of a group: each partition has one owner at a time, and moves when
members come and go.

*What it guarantees.* A partition is a claim: the service never grants it to two, each owner has a fencing token greater
than all before it, and what is written through ``partition.client`` below a fence of its path is refused once it is not
the owner any more. A partition that is to move is given up after its work here has ended, and not before; its new
owner, in line by then, has it in that very step. One whose owner is gone moves when that session has ended. All
members reckon the same owner for each partition (:func:`coord.recipes.hashing.spread`): shares differ by one at most,
and when a member comes or goes little moves but what must.

*What it does not.* Own every partition at each moment: one whose owner has died has none until that session ends,
and one whose work takes long to end has its old owner for so long. A work that was stopped (SIGSTOP) or cut off goes on
until it hears of it, beside that of the new owner. Members are equal: nobody is given less for being slower.

*What to do about that.* Hand ``partition.token`` to what the work writes to (:mod:`coord.recipes.fencing`). Work in
steps that can be repeated: the new owner begins where the last completed step was written down. Where work should be
ended at leisure give ``grace``, and look at ``partition.leaving``.

::

    import anyio
    from coord.recipes.partitioning import Partition, Partitioning

    owned = []

    async def work(partition: Partition) -> None:
        owned.append(partition.number)
        if len(owned) == 3:
            print(sorted(owned), partition.held)
            here.cancel()
        await anyio.sleep_forever()  # until it is cancelled: it moves, or is lost

    with anyio.CancelScope() as here:
        await Partitioning(client, "/shards", 3).run(work)
    # → [0, 1, 2] True
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from math import inf
from typing import Final, Never

import anyio
import anyio.abc

from coord.client import Client, Grant, InvalidRequest, NotHeld, StaleToken
from coord.recipes import membership
from coord.recipes.arguments import (
    awaited,
    below,
    checked_client,
    checked_function,
    checked_int,
    checked_path,
)
from coord.recipes.hashing import spread
from coord.recipes.held import Held
from coord.recipes.members import Member
from coord.recipes.scope import Lost

PARTITIONS_MAX: Final = 65_536
"""Every member reckons the owner of each, with as many hashes as there are members: some microseconds for each."""

COUNT: Final = "partitions"
"""The attribute in which each member says how many there are: all must say the same."""

Work = Callable[["Partition"], Awaitable[object]]


class Partition:
    """One partition that is owned here. Its work is called anew each time that it comes here."""

    def __init__(self, client: Client, number: int, grant: Grant) -> None:
        self.number = number
        """From 0 on."""
        self.path = grant.path
        self.token = grant.token
        """The fencing token."""
        self.client = client.fenced(grant)
        """A view of the client that presents the token with each write."""
        self.leaving = anyio.Event()
        """Set when it is to move: the work has ``grace`` seconds to end, and is cancelled then."""
        self._grant = grant

    def __repr__(self) -> str:
        return f"<Partition {self.number} {self.token}{'' if self.held else ', over'}>"

    @property
    def held(self) -> bool:
        """Whether it is certain that nobody else owns it now. Any thread may ask."""
        return self._grant.held

    def remaining(self) -> float:
        """Seconds for which that is certain, whatever happens to the connection."""
        return self._grant.remaining()

    def check(self) -> None:
        """Raise :class:`~coord.client.NotHeld` or :class:`~coord.client.SessionEnded` unless it is ``held``."""
        self._grant.check()


class Partitioning:
    """``await Partitioning(client, "/shards", 16).run(work)``, in as many processes as there are.

    ``name``: this member's; the same after a restart, it gets the same partitions (``None``: a new one). ``grace``:
    seconds that the work of a partition that is to move has to end by itself, once ``partition.leaving`` is set.
    """

    def __init__(
        self, client: Client, path: str, partitions: int, *, name: str | None = None, grace: float = 0.0
    ) -> None:
        self._client = checked_client(client)
        self.path = checked_path(path, "a partitioning")
        self._count = checked_int(partitions, 1, "a number of partitions")
        if partitions > PARTITIONS_MAX:
            raise InvalidRequest(
                f"a partitioning has {PARTITIONS_MAX} partitions at most, not {partitions!r:.40}"
            )
        if isinstance(grace, bool) or not isinstance(grace, int | float) or not 0 <= grace < inf:
            raise InvalidRequest(f"grace is so many seconds, 0 or more; not {grace!r:.40}")
        self._name = name
        self._grace = grace
        self._running = False
        self._wanted: frozenset[int] = frozenset()
        """What is to be owned here, by who is a member."""
        self._shares: dict[int, _Share] = {}
        """What is owned, waited for, or about to be given up."""

    @property
    def mine(self) -> tuple[Partition, ...]:
        """What is owned here now, by number."""
        found = [share.partition for share in self._shares.values() if share.partition is not None]
        return tuple(sorted(found, key=lambda partition: partition.number))

    async def run(self, work: Work, *, deadline: float | None = None) -> Never:
        """Be a member, and call ``await work(partition)`` for each partition that is owned here, all at the same time.

        A work is cancelled when its partition moves or is lost; one that returns by itself has nothing more to do, and
        the partition stays. What a work raises ends all of it: it is raised here, when what is owned was given up
        (but :class:`~coord.client.NotHeld` and :class:`~coord.client.StaleToken` of a partition that is lost). So
        is :class:`~coord.recipes.scope.Lost` when the session ends, and :class:`~coord.client.InvalidRequest` (refused)
        where others say another number of partitions. ``deadline``: for becoming a member; in time a name that
        somebody has may be free again (that of a process that was killed).
        """
        checked_function(work, "a work")
        # One that owns nothing, or has not joined yet, runs as well as one that does.
        if self._running:
            raise InvalidRequest("this partitioning runs already; make another one for another member")
        self._running = True
        try:
            await self._run(work, deadline)
        finally:
            self._running = False

    async def _run(self, work: Work, deadline: float | None) -> Never:
        group = below(self.path, "members")
        attributes = {COUNT: self._count}
        joined = membership.join(self._client, group, self._name, attributes, wait=True, deadline=deadline)
        async with joined as me:
            failures: list[Exception] = []
            async with anyio.create_task_group() as tasks:
                try:
                    await self._follow(me, work, tasks, failures)
                except Exception as error:  # noqa: BLE001  it is raised below: a group would wrap it
                    failures.append(error)
                    tasks.cancel_scope.cancel()
            if failures:
                raise failures[0]
        raise RuntimeError("a partitioning has ended without a reason")

    async def _follow(
        self, me: membership.Membership, work: Work, tasks: anyio.abc.TaskGroup, failures: list[Exception]
    ) -> None:
        """Own what falls to this member, as others come and go."""

        async def own(share: "_Share") -> None:
            try:
                await self._own(share, work, me.name.encode())
            except Exception as error:  # noqa: BLE001  as above
                failures.append(error)
                tasks.cancel_scope.cancel()
            finally:
                del self._shares[share.number]

        while True:
            names = self._names(me.roster)
            self._wanted = frozenset(share_of(me.name, names, self._count))
            for share in list(self._shares.values()):
                if share.number not in self._wanted:
                    share.leave(tasks, self._grace)
            for number in sorted(self._wanted - self._shares.keys()):
                self._shares[number] = share = _Share(number)
                tasks.start_soon(own, share)
            await me.wait_for(lambda roster, seen=names: self._names(roster) != seen, deadline=inf)  # type: ignore[misc]

    def _names(self, roster: Sequence[Member]) -> list[str]:
        """Who takes part. What the member says that has been there for longest holds for all: one who comes with
        another number of partitions leaves again, and does no harm to the others meanwhile.
        """
        first = min(roster, key=lambda member: member.joined_revision, default=None)
        count = self._count if first is None else first.attributes.get(COUNT)
        if count != self._count:
            raise InvalidRequest(
                f"there are {count!r:.20} partitions at {self.path!r:.60}, as its members say, and not {self._count}: "
                "all must say the same, or two would reckon other owners"
            )
        return [member.name for member in roster if member.attributes.get(COUNT) == count]

    async def _own(self, share: "_Share", work: Work, label: bytes) -> None:
        """Own it for as long as it is wanted here, also if it is lost meanwhile, or comes back before it has gone."""
        path = below(self.path, f"partitions/{share.number}")
        raised: list[Exception] = []
        while share.number in self._wanted:
            with share.begun():
                try:
                    claim = Held(
                        self._client,
                        f"the partition {path}",
                        lambda: self._client.claim(path, label=label, capacity=1, deadline=inf),
                    )
                    async with claim as grant:
                        share.partition = partition = Partition(self._client, share.number, grant)
                        try:
                            await awaited(work(partition), "a work")
                        except Exception as error:
                            # What says that the partition is lost is no failure: the block is about to be cancelled.
                            if partition.held or not isinstance(error, NotHeld | StaleToken):
                                raised.append(error)
                                raise
                        await partition.leaving.wait()
                except Lost as error:
                    if error in raised:
                        raise  # something of the work's own
                finally:
                    share.partition = None


class _Share:
    """A partition that this member owns, or waits for."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.partition: Partition | None = None
        self._scope = anyio.CancelScope()

    def begun(self) -> anyio.CancelScope:
        """The scope of one time of owning it."""
        self._scope = anyio.CancelScope()
        return self._scope

    def leave(self, tasks: anyio.abc.TaskGroup, grace: float) -> None:
        """Have it given up, after its work has ended; at once, if it only waits."""
        if self.partition is None or not grace:
            self._scope.cancel()
        elif not self.partition.leaving.is_set():
            tasks.start_soon(_cancel_after, self._scope, grace)
        if self.partition is not None:
            self.partition.leaving.set()


async def _cancel_after(scope: anyio.CancelScope, seconds: float) -> None:
    await anyio.sleep(seconds)
    scope.cancel()


def share_of(name: str, names: Iterable[str], count: int) -> list[int]:
    """The partitions of ``name``, if it is among ``names``. Pure, and the same in every process."""
    width = len(str(count - 1))
    keys = [f"{number:0{width}}" for number in range(count)]
    members = list(names)
    return [int(key) for key in spread(keys, members)[name]] if name in members else []
