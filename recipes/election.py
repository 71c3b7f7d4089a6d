"""Leader election: of many candidates one leads at a time; when it goes the next in line leads in the same step.

*What it guarantees.* At each revision of the service one candidate holds the leadership, or none does. Each
leadership has a fencing token, greater than all before it at this path, and a token is valid until the revision in
which its leadership ends, never beyond: what is written through ``leadership.client`` below a fence is refused from
then on, and two leaders that both hold a valid token never exist. The leader's block is cancelled, by its own
clock, before the service makes anybody else leader because this one was silent for too long; so no two have
``leadership.held`` at a time, as long as their monotonic clocks run alike within one percent of a session's timeout.
Candidates lead in the order in which they asked; one that is gone is passed over. Who observes is told of each leader,
in order, and never of a former one after a later one.

*What it does not.* Two programs may *believe* that they lead: one that was stopped (SIGSTOP, a pause of its machine)
between its last look at the clock and its next step, or whose request is still on its way; and one whose leadership
was ended by force (``client.release(number, force=True)``) or by deleting the znode, until it has heard of it. What
an observer was told was true at its revision, and may not be any more.

*What to do about that.* Hand ``leadership.token`` to every resource, which refuses lower ones than it has seen
(:mod:`coord.recipes.fencing`); for what is in coord itself, ``client.fence(subtree, election.path)`` once, and write
through ``leadership.client``.

::

    from coord.recipes.election import Election

    election = Election(client, "/leaders/billing", b"10.0.0.7:9000")
    async with election.observe() as leaders:
        async with election.lead(deadline=5) as leadership:
            print(leadership.held, (await election.leader()).value)  # → True b'10.0.0.7:9000'
            print(await election.candidates())  # → ()
        async for leader in leaders:
            print(leader and leader.value)
            if leader is not None:
                break
        # → None
        # → b'10.0.0.7:9000'
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Final, Self

import anyio
from anyio.lowlevel import checkpoint

from coord.client import (
    ChangeKind,
    Claimed,
    ClaimRow,
    Client,
    Conflict,
    CoordError,
    DeadlineExceeded,
    Event,
    Gap,
    Grant,
    InvalidRequest,
    NotFound,
    SessionEnded,
    Token,
    Watch,
)
from coord.recipes.arguments import Deadline, checked_client, checked_path, checked_seconds
from coord.recipes.held import Held
from coord.recipes.scope import Lost

__all__ = ["Candidate", "Election", "Leader", "Leaders", "Leadership", "Leading", "Lost"]

FOREVER: Final = float("inf")


@dataclass(frozen=True, slots=True)
class Leader:
    """Who leads, or led, as somebody else sees it."""

    number: int
    """Of its claim."""
    token: Token
    value: bytes
    """What it had to say when it became a candidate."""
    session: int
    client: str
    """What its client calls itself; ``""`` where its session is gone already."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """Who waits to lead."""

    number: int
    """Of its claim: by it the leadership can be handed over."""
    value: bytes
    session: int
    client: str
    since_ms: int
    """Wall clock, for people."""


class Election:
    """``Election(client, "/leaders/a", value)``: to stand in it (:meth:`lead`), or to look at it.

    ``value`` is what observers are told of this candidate, up to 1 KiB: where it can be reached, for instance. It is
    that of its claim, and stays as it was; what changes while it leads has its place in a znode below a fence.
    """

    def __init__(self, client: Client, path: str, value: bytes = b"") -> None:
        self.path = checked_path(path, "an election")
        self._client = checked_client(client)
        self._value = value

    def lead(self, *, deadline: float | None = None) -> "Leading":
        """Stand, wait, and lead for the length of a block: ``async with election.lead() as leadership: …``

        ``deadline``: seconds to wait for the leadership (0: lead at once, or not at all);
        :class:`~coord.client.DeadlineExceeded` (refused) when it did not come in time; then, and when it is cancelled,
        this is no candidate any more. In the block ``Lost`` is
        raised as soon as the leadership may be over; to resign, leave it.
        """
        return Leading(self, deadline)

    def observe(self, *, deadline: float | None = None) -> "Leaders":
        """The present leader and each later one: ``async with election.observe() as leaders: async for leader in
        leaders: …``; ``None``: nobody leads. No session is needed.
        """
        return Leaders(self._client, self.path, deadline)

    async def leader(self, *, deadline: float | None = None) -> Leader | None:
        """Who leads now."""
        return (await present(self._client, self.path, Deadline(self._client, deadline)))[0]

    async def candidates(self, *, deadline: float | None = None) -> tuple[Candidate, ...]:
        """Who waits to lead, the first in line first. (Of a thousand and more, those that came or went meanwhile may be
        missed or told.)
        """
        due = Deadline(self._client, deadline)
        found: list[Candidate] = []
        more, after = True, None
        while more:
            page = await self._client.claims(self.path, subtree=False, after=after, deadline=due.left)
            found += [
                Candidate(row.number, row.label, row.session, row.client, row.since_ms)
                for row in page.claims
                if row.token is None
            ]
            more, after = page.more, page.claims[-1].number if page.claims else None
        return tuple(found)

    async def hand_over(
        self, leadership: "Leadership", to: int | str, *, deadline: float | None = None
    ) -> None:
        """Make a candidate leader, in one step and out of order: at no time does nobody lead.

        ``to``: its number, or what its client calls itself (the first in line of that name). The block of
        ``leadership`` ends then, at its next ``await`` and without an error: to hand over is to resign. Raises
        :class:`~coord.client.NotFound` (refused) when there is no such candidate and
        :class:`~coord.client.NotHeld` (refused) when the leadership is over; in both cases nothing has changed.
        """
        if not isinstance(leadership, Leadership) or leadership.path != self.path:
            raise InvalidRequest("hand_over takes the leadership that this election's lead() gave")
        if not isinstance(to, int | str) or isinstance(to, bool):
            raise InvalidRequest(
                f"a leadership is handed over to a candidate's number, or its client's name; not {to!r:.60}"
            )
        due = Deadline(self._client, deadline)
        tried: list[int] = []
        while True:
            number = to if isinstance(to, int) else await self._first_of(to, tried, due)
            try:
                # In one piece: whoever gives a leadership up by his own will is not told that it is lost. Said before
                # it is sent: the news that the claim is over comes ahead of the answer, and the block of a plain
                # thread, which is another task's, may have ended by then.
                with anyio.CancelScope(shield=True):
                    leadership._handed_over = True
                    try:
                        await leadership.grant.hand_over(number, deadline=due.left)
                    except BaseException:
                        leadership._handed_over = False
                        raise
            except Conflict as error:
                if isinstance(to, int):
                    raise NotFound(error.message, error.details) from None
                tried.append(number)  # that one has left; there may be another of the name
            else:
                break
        await checkpoint()

    async def _first_of(self, name: str, tried: Sequence[int], due: Deadline) -> int:
        for candidate in await self.candidates(deadline=due.left):
            if candidate.client == name and candidate.number not in tried:
                return candidate.number
        raise NotFound(f"no candidate of the name {name!r:.60} waits at {self.path!r:.80}")

    async def _campaign(self, deadline: float | None) -> Grant:
        wait = deadline is None or checked_seconds(deadline) != 0
        try:
            return await self._client.claim(
                self.path, wait=wait, label=self._value, capacity=1, deadline=deadline if wait else None
            )
        except Claimed:
            raise DeadlineExceeded(f"somebody else leads at {self.path!r:.80}", outcome="refused") from None


class Leadership:
    """What a leader has, in its block."""

    def __init__(self, client: Client, grant: Grant, value: bytes) -> None:
        self.grant = grant
        self.path = grant.path
        self.token = grant.token
        """The fencing token."""
        self.value = value
        self.client = client.fenced(grant)
        """A view of the client that presents the token with each write."""
        self._handed_over = False

    def __repr__(self) -> str:
        return f"<Leadership of {self.path} {self.token}{'' if self.held else ', over'}>"

    @property
    def number(self) -> int:
        """The claim's."""
        return self.grant.number

    @property
    def held(self) -> bool:
        """Whether it is certain that nobody else leads now. Any thread may ask."""
        return self.grant.held

    def remaining(self) -> float:
        """Seconds for which that is certain, whatever happens to the connection."""
        return self.grant.remaining()

    def check(self) -> None:
        """Raise :class:`~coord.client.NotHeld` or :class:`~coord.client.SessionEnded` unless it is ``held``."""
        self.grant.check()


class Leading:
    """What :meth:`Election.lead` returns; entered once."""

    def __init__(self, election: Election, deadline: float | None) -> None:
        self._election = election
        what = f"the leadership of {election.path}"
        self._held = Held(election._client, what, lambda: election._campaign(deadline))
        self._leadership: Leadership | None = None

    async def __aenter__(self) -> Leadership:
        grant = await self._held.__aenter__()
        self._leadership = Leadership(self._election._client, grant, self._election._value)
        return self._leadership

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        try:
            return await self._held.__aexit__(exc_type, exc, traceback)
        except Lost as lost:
            by_itself = isinstance(lost.__cause__, SessionEnded)
            if self._leadership is not None and self._leadership._handed_over and not by_itself:
                return True
            raise


# --- looking ---------------------------------------------------------------------------------------------------------


async def present(client: Client, path: str, due: Deadline) -> tuple[Leader | None, int, int]:
    """Who leads, a revision at which that was so, and the cluster's incarnation.

    One page of claims is of one revision: whoever is held on it led then. But that no page has a leader does not
    mean that there was none: 1. the first page is read, and A leads, on the second; 2. A hands over to B, on the
    first; 3. the second page is read, without a leader. So the number of holders is asked for then.
    """
    while True:
        more, after = True, None
        while more:
            page = await client.claims(path, subtree=False, after=after, deadline=due.left)
            held = [row for row in page.claims if row.token is not None]
            if held:
                return _leader(held[-1]), page.revision, page.incarnation
            more, after = page.more, page.claims[-1].number if page.claims else None
        facts = await client.claim_info(path, deadline=due.left)
        if not facts.holders:
            return None, facts.revision, facts.incarnation


def _leader(row: ClaimRow) -> Leader:
    if row.token is None:
        raise RuntimeError("a claim that waits does not lead")
    return Leader(row.number, row.token, row.label, row.session, row.client)


class Fold:
    """Who leads, as the events of claims tell it from a known beginning on. Sans IO.

    In one revision a leadership may end and the next begin, and that is one change: nobody is told that nobody led.
    """

    def __init__(self, leader: Leader | None, revision: int, incarnation: int) -> None:
        self.leader = leader
        self.revision = revision
        """Events through it have been applied, or were known before."""
        self._incarnation = incarnation

    def apply(self, event: Event) -> None:
        """The next event of the watch."""
        if event.revision < self.revision:
            return
        self.revision = event.revision
        if event.kind is ChangeKind.CLAIMED:
            token = Token(self._incarnation, event.revision)
            self.leader = Leader(event.request, token, event.value or b"", event.session, "")
        elif (
            event.kind is ChangeKind.RELEASED
            and self.leader is not None
            and self.leader.number == event.request
        ):
            self.leader = None


class Leaders:
    """What :meth:`Election.observe` returns. To be taken from by one task.

    It goes on across lost connections and new leaders of the service. Where the members' history no longer reaches
    back (``Gap``) the leader is read anew: those in between are not told then. The loop raises
    :class:`~coord.client.SessionEnded` when the client's session is over.
    """

    def __init__(self, client: Client, path: str, deadline: float | None) -> None:
        self._client = client
        self._path = path
        self._deadline = deadline
        self._fold: Fold | None = None
        self._watch: Watch | None = None
        self._entered = False
        self._ready: deque[Leader | None] = deque()
        self._told: int | None = None
        """The number of the leader that was told last, 0 for none; ``None`` before any."""
        self._left = False

    async def __aenter__(self) -> Self:
        if self._entered:
            raise InvalidRequest("an observation is entered once; call observe() for another one")
        self._entered = True
        await self._open(Deadline(self._client, self._deadline))
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._left = True
        await self._close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Leader | None:
        if self._fold is None:
            raise InvalidRequest("the observation is not open: enter it with 'async with'")
        await checkpoint()
        while not self._ready:
            if self._left:
                await self._close()  # one that was opened anew meanwhile
                raise StopAsyncIteration
            if self._watch is None:  # cancelled while it was opened anew
                await self._open(Deadline(self._client, FOREVER))
                continue
            watch, fold = self._watch, self._fold
            try:
                event = await anext(watch)
            except Gap:
                await self._close()
                continue
            fold.apply(event)
            if (watch.next_revision or 0) > event.revision:  # that was all of its revision
                self._tell(fold.leader)
        leader = self._ready[0]
        if leader is not None and not leader.client:
            leader = replace(leader, client=await self._name_of(leader))
        self._ready.popleft()  # only now: a cancelled call has taken nothing
        return leader

    async def _open(self, due: Deadline) -> None:
        """Read, and watch from there on. Done again where history has gone on by more than it keeps meanwhile."""
        while self._watch is None:
            leader, revision, incarnation = await present(self._client, self._path, due)
            watch = self._client.watch(
                self._path, "znode", revision + 1, on_gap="raise", claims=True, deadline=due.left
            )
            try:
                await watch.__aenter__()
            except Gap:
                continue
            self._fold, self._watch = Fold(leader, revision, incarnation), watch
            self._tell(leader)

    async def _close(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            await watch.__aexit__(None, None, None)

    def _tell(self, leader: Leader | None) -> None:
        number = 0 if leader is None else leader.number
        if number != self._told:
            self._told = number
            self._ready.append(leader)

    async def _name_of(self, leader: Leader) -> str:
        """At the member that has told of it, without a quorum; "" when its session is gone by now."""
        try:
            page = await self._client.sessions(
                leader.session - 1, limit=1, at_least=leader.token.revision, deadline=FOREVER
            )
        except SessionEnded:
            raise
        except CoordError:
            return ""
        return next((each.client for each in page if each.session == leader.session), "")
