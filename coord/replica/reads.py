"""Reads that wait: for a confirmed leader (linearizable), or for a revision (at_least).

ReadIndex after Ongaro's thesis §6.4. All linearizable reads that arrive while a round is under way share the
next one: a round answers only what arrived before it was asked. A follower asks the leader for the index;
then the read is served here, once that index is applied.

Each asking has its own number, never used again, not even by a later life of this member (it begins at the boot nonce).
The interleaving this defends against: a round is asked, and its grant is delayed; the member gives up and
asks again, or restarts; a write is acknowledged meanwhile; the old grant arrives and is taken for the new one:
a stale read (etcd issue 20418 is of this kind).
"""

from typing import NamedTuple

from coord.wire.client_frames import Hello, Keepalive, Reads, Watch


class Waiting(NamedTuple):
    """Something a client wants to have done at a fresh enough state."""

    connection: int
    frame: Reads | Watch | Hello | Keepalive
    since_ms: int


class ReadRounds:
    """Linearizable reads of this member's clients. At most one round is under way."""

    __slots__ = ("_asked", "_granted", "_next_number", "_queued", "asked_ticks", "resting")

    def __init__(self, boot: int) -> None:
        self._next_number = boot << 20
        self._queued: list[Waiting] = []
        self._asked: tuple[int, list[Waiting]] | None = None
        self._granted: list[tuple[int, list[Waiting]]] = []  # (log index, reads), index not decreasing
        self.asked_ticks = 0
        self.resting = False
        """The last round was refused: the next is asked at the next tick, or of the next leader."""

    def __len__(self) -> int:
        asked = len(self._asked[1]) if self._asked else 0
        return len(self._queued) + asked + sum(len(reads) for _, reads in self._granted)

    def add(self, waiting: Waiting) -> None:
        self._queued.append(waiting)

    @property
    def wanted(self) -> bool:
        """Whether a round should be asked now."""
        return bool(self._queued) and self._asked is None and not self.resting

    def ask(self) -> tuple[int, list[Waiting]]:
        """Begin a round for all that is queued: its number, and what it is for."""
        self._next_number += 1
        reads, self._queued = self._queued, []
        self._asked = (self._next_number, reads)
        self.asked_ticks = 0
        return self._next_number, reads

    def granted(self, number: int, index: int) -> None:
        """The round ``number`` is confirmed: serve at ``index``. Any other number is a round given up."""
        if self._asked is not None and self._asked[0] == number:
            reads = self._asked[1]
            self._asked = None
            if reads:
                self._granted.append((index, reads))

    def give_up(self, number: int | None = None) -> None:
        """The round under way (``number``, or any) will not be answered: its reads wait for the next."""
        if self._asked is not None and number in (None, self._asked[0]):
            self._queued = self._asked[1] + self._queued
            self._asked = None

    def refused(self, number: int) -> None:
        """Whom this member takes for the leader is none, or no longer.

        It may be a while before this member knows, too. Asked again at once, the two would send each other
        request and refusal as fast as they can, until then.
        """
        if self._asked is not None and self._asked[0] == number:
            self.give_up()
            self.resting = True

    @property
    def under_way(self) -> bool:
        return self._asked is not None

    def take_due(self, applied_index: int) -> list[Waiting]:
        """Reads whose index is applied."""
        if not self._granted:
            return []
        due: list[Waiting] = []
        later: list[tuple[int, list[Waiting]]] = []
        for index, reads in self._granted:
            if index <= applied_index:
                due += reads
            else:
                later.append((index, reads))
        self._granted = later
        return due

    def take_expired(self, before_ms: int) -> list[Waiting]:
        """Reads that have waited since before ``before_ms``."""
        expired: list[Waiting] = []
        self._queued = split_expired(self._queued, before_ms, expired)
        if self._asked is not None:
            self._asked = (self._asked[0], split_expired(self._asked[1], before_ms, expired))
        self._granted = [(index, split_expired(reads, before_ms, expired)) for index, reads in self._granted]
        return expired


class RevisionWaits:
    """Reads of this member's clients that wait for a revision."""

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting: list[Waiting] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, waiting: Waiting) -> None:
        self._waiting.append(waiting)

    def take_due(self, revision: int) -> list[Waiting]:
        """Those whose revision has come."""
        if not self._waiting:
            return []
        due = [each for each in self._waiting if _at_least(each) <= revision]
        if due:
            self._waiting = [each for each in self._waiting if _at_least(each) > revision]
        return due

    def take_expired(self, before_ms: int) -> list[Waiting]:
        expired: list[Waiting] = []
        self._waiting = split_expired(self._waiting, before_ms, expired)
        return expired


def _at_least(waiting: Waiting) -> int:
    return waiting.frame.at_least if isinstance(waiting.frame, Reads) else 0


def split_expired(reads: list[Waiting], before_ms: int, expired: list[Waiting]) -> list[Waiting]:
    """Those that wait since ``before_ms`` or later; the others join ``expired``."""
    if not any(each.since_ms < before_ms for each in reads):
        return reads
    expired += [each for each in reads if each.since_ms < before_ms]
    return [each for each in reads if each.since_ms >= before_ms]
