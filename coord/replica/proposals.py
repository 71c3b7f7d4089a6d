"""Commands on their way into the log: this member's own until they are applied, and what others pass on.

Every command of this member's clients stays *pending* until this member has applied it. While there is no
leader it waits; when the leader or the term changes, or nothing moves for too long, all pending commands
are passed on anew, in their order. So none is lost, some are proposed twice, and the session table makes the second
time harmless.

Of its own commands a member has no more on their way than are applied in good time (``transit_work_us``). One client
may ask for a minute's work at once, and what is in the log is applied before anything that is asked for later: a read
of somebody else would wait for it. What waits here goes out as others of it are applied, in turns by session.

Order within a session. A follower passes commands on in a *stream*: numbered lots, begun anew for each
leader and term with all that is pending. The leader takes the lots of a stream in order and without holes; when it
has not taken one (there was no room, or the one before was lost), it says so, and the follower begins a new stream.
The interleaving this defends against: lot 1 (set x=1) is lost with the old leader; lot 2 (set x=2, same
session) reaches the new one; lot 1 is then passed on again, and x ends as 1, though the client set 2 last.
"""

from collections import deque
from collections.abc import Iterable
from typing import Final

from coord.api.commands import END_SESSION, REQUESTS
from coord.replica.turns import Turns
from coord.store.work import NO_END
from coord.wire.peer_frames import Forward, ForwardRefused

STREAM_COUNTER_BITS: Final = 20
"""A stream's number is the sender's boot nonce and a counter: later streams of one life are greater, and
those of another life are told apart."""


_NEVER: Final = -1


class Pending:
    """One command, encoded."""

    __slots__ = ("applied", "command", "first_request", "last_request", "on_its_way", "turn", "work")

    def __init__(self, turn: int, command: bytes, first_request: int, last_request: int, work: int) -> None:
        self.turn = turn
        """The session whose commands have an order; 0: those of this member as such."""
        self.command = command
        self.first_request = first_request
        self.last_request = last_request
        self.work = work
        """What it is expected to take."""
        self.on_its_way = False
        self.applied = False
        """Also without having gone out: it did with an earlier stream, and need not again."""


class Proposals:
    """Invariants: ``_pending`` holds, in order of arrival, what this member took in and has not applied; ``_work`` is
    what those of it are expected to take that are on their way; all others are in ``_unsent`` or wait for their turn.
    """

    def __init__(self, boot: int, lot_bytes: int, transit_work_us: int = NO_END) -> None:
        self._stream = boot << STREAM_COUNTER_BITS
        self._sequence = 0
        self._lot_bytes = lot_bytes
        self._counter = 0
        self._pending: dict[int, Pending] = {}
        self._again_through = 0
        """The last command that was passed on anew."""
        self.moved_at_once = True
        """Whether what was applied last had been passed on only once."""
        self._by_key: dict[tuple[int, int], deque[int]] = {}
        self._last_before_part = NO_END
        """While a command is applied in parts: the last that was pending when the first part was answered."""
        self._work = 0
        self._work_max = transit_work_us
        self._unsent: list[Pending] = []
        """New, or to be passed on anew."""
        self._turns: Turns[Pending] = Turns()
        """For those there was no room when their time came, and all that came behind them."""
        self.pending_bytes = 0
        self.gathered: list[bytes] = []
        """A leader's: to be proposed next, its own and others'."""
        self.gathered_bytes = 0
        self._taken: dict[int, tuple[int, int]] = {}  # peer -> (its stream, the next lot)
        self._refused: dict[int, tuple[int, int]] = {}
        """A leader's: peer -> (its stream, the last entry with what was taken before; 0: not in the log yet)."""

    @property
    def has_new(self) -> bool:
        """Whether something was not proposed or passed on yet."""
        return bool(self._unsent or self.gathered or (self._turns.count and self._work < self._work_max))

    @property
    def pending_count(self) -> int:
        return len(self._pending)

    def add(
        self, key: tuple[int, int], last_request: int, command: bytes, first_request: int = 0, work: int = 1
    ) -> None:
        """Take in a command of this member. ``key`` is ``(command kind, session or nonce)``;
        commands of one key are applied in order, and ``last_request`` tells which are. So are those of one session,
        and this member's openings of sessions.
        """
        self._counter += 1
        kind, number = key
        turn = number if kind in (REQUESTS, END_SESSION) else 0
        pending = self._pending[self._counter] = Pending(turn, command, first_request, last_request, work)
        self._by_key.setdefault(key, deque()).append(self._counter)
        self.pending_bytes += len(command)
        self._unsent.append(pending)

    def applied(self, key: tuple[int, int], last_request: int, first_request: int = 0) -> bool:
        """A command of ``key`` with the requests from ``first_request`` through ``last_request`` was applied, whoever
        proposed it: so all that are pending here, with no others in them, are applied and answered.

        With no others. 1. A client sends request 1 to a member, then 2; 1 is applied. 2. It goes to another member, and
        sends 1 and 2 in one frame. 3. The 2 that it had sent before is applied. Were the frame taken for applied with
        it, nobody would answer 1: nowhere else is it asked for any more.

        Nor if it came between two parts of that command: who asked has missed the answers to those before.

        Say whether something pending went with it. The interleaving that makes this matter: a lot of this follower
        is lost, and the leader refuses all after it. Clients of other members go on writing. If their commands
        counted as progress here, this member would never begin its stream anew.
        """
        last_before_part, self._last_before_part = self._last_before_part, NO_END
        numbers = self._by_key.get(key)
        if numbers is None:
            return False
        moved = False
        while numbers:
            number = numbers[0]
            pending = self._pending[number]
            if pending.last_request > last_request or pending.first_request < first_request:
                break
            if number > last_before_part:
                break
            numbers.popleft()
            del self._pending[number]
            self.pending_bytes -= len(pending.command)
            pending.applied = True
            if pending.on_its_way:
                self._work -= pending.work
            self.moved_at_once = number > self._again_through
            moved = True
        if not numbers:
            del self._by_key[key]
        return moved

    def applied_in_part(self) -> None:
        """Some requests of a command are answered; :meth:`applied` will be told of all."""
        self._last_before_part = min(self._last_before_part, self._counter)

    def part_is_gone(self) -> None:
        """It will not: the state that the command was applied to has gone."""
        self._last_before_part = NO_END

    def restart(self) -> None:
        """Another leader, another term, or something was lost: everything pending goes out again, in order."""
        self._stream += 1
        self._sequence = 0
        self._again_through = self._counter
        self._work = 0
        self._turns.clear()
        self._unsent = list(self._pending.values())
        for pending in self._unsent:
            pending.on_its_way = False
        self.gathered.clear()
        self.gathered_bytes = 0
        self._taken.clear()
        self._refused.clear()

    def begin_anew(self, refused: ForwardRefused) -> None:
        """A follower's: the leader did not take a lot. (One of a former stream is on its way again already.)"""
        if refused.stream == self._stream:
            self.restart()

    def take_lots(self, touched: tuple[int, ...]) -> list[Forward]:
        """A follower's: what is to be passed on to the leader now."""
        lots: list[Forward] = []
        if not (self._unsent or self._turns.count):
            return lots
        for commands in in_lots(self._take_unsent(), self._lot_bytes):
            lots.append(Forward(self._stream, self._sequence, tuple(commands), touched))
            self._sequence += 1
            touched = ()
        return lots

    def touch_lot(self, touched: tuple[int, ...]) -> Forward:
        """A follower's: nothing to pass on, but sessions were heard from."""
        self._sequence += 1
        return Forward(self._stream, self._sequence - 1, (), touched)

    def gather_own(self) -> None:
        """A leader's: its own commands are to be proposed."""
        if self._unsent or self._turns.count:
            for command in self._take_unsent():
                self.gather(command)

    def _take_unsent(self) -> list[bytes]:
        """The commands that are to go out now: while there is room; one, if it is larger than all the room."""
        turns = self._turns
        going: list[Pending] = []
        for pending in self._unsent:
            if turns.count or self._work >= self._work_max:
                turns.add(pending.turn, pending)
            elif not pending.applied:
                going.append(pending)
                self._work += pending.work
        self._unsent.clear()
        while turns.count and self._work < self._work_max:
            pending = turns.take()
            if not pending.applied:
                going.append(pending)
                self._work += pending.work
        for pending in going:
            pending.on_its_way = True
        return [pending.command for pending in going]

    def gather(self, command: bytes) -> None:
        self.gathered.append(command)
        self.gathered_bytes += len(command)

    def receive(self, peer: int, forward: Forward) -> bool:
        """A leader's: a follower passed a lot on. False: it is out of its order, and was not taken."""
        expected = self._expected(peer, forward.stream)
        if forward.sequence != expected:
            return False
        self._taken[peer] = (forward.stream, expected + 1)
        for command in forward.commands:
            self.gather(command)
        return True

    def refuse(self, peer: int, forward: Forward, last_index: int) -> None:
        """A leader's: it did not take this lot. ``last_index``: its log's."""
        expected = self._expected(peer, forward.stream)
        if expected != _NEVER and forward.sequence >= expected:  # else it came again, or late
            self._refused[peer] = forward.stream, 0 if self.gathered else last_index

    def take_refused(self, commit_index: int) -> list[tuple[int, ForwardRefused]]:
        """A leader's: whom to tell now that it did not take a lot.

        Not before all that was taken is committed: told earlier, a follower would pass that on again as well. A leader
        that had no room would then have none for the rest, again and again.
        """
        told = [
            (peer, ForwardRefused(stream))
            for peer, (stream, index) in self._refused.items()
            if 0 < index <= commit_index
        ]
        for peer, _ in told:
            del self._refused[peer]
        return told

    def proposed(self, last_index: int) -> None:
        """A leader's: all that had gathered is in the log."""
        for peer, (stream, index) in self._refused.items():
            self._refused[peer] = stream, index or last_index

    def _expected(self, peer: int, stream: int) -> int:
        """The next lot of this stream; of an older one that came late, none that there is."""
        known, expected = self._taken.get(peer, (0, 0))
        if stream == known:
            return expected
        same_life = stream >> STREAM_COUNTER_BITS == known >> STREAM_COUNTER_BITS
        return _NEVER if same_life and stream < known else 0

    def take_gathered(self) -> list[list[bytes]]:
        """A leader's: the commands of the next entries."""
        lots = list(in_lots(self.gathered, self._lot_bytes))
        self.gathered.clear()
        self.gathered_bytes = 0
        return lots


def in_lots(commands: list[bytes], lot_bytes: int) -> Iterable[list[bytes]]:
    """``commands`` in order, in lists of up to ``lot_bytes``; a larger one stands alone."""
    lot: list[bytes] = []
    size = 0
    for command in commands:
        if lot and size + len(command) > lot_bytes:
            yield lot
            lot, size = [], 0
        lot.append(command)
        size += len(command)
    if lot:
        yield lot
