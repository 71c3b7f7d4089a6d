"""Watches never lie: ordered, unique, atomic, complete, resumable, before the reply; and a gap is told.

Likewise the one by which a client hears of its own claims (scope ``claims``): each grant and each end once, in order,
before any reply that shows it.

Each watch has a point through which it was told everything (``through``): it begins where the watch was opened, moves
with each delivery, and outlives connections. Nothing that concerns the watch may lie between it and the next
delivery, nor between it and where the watch is opened again, nor at or below the revision of any reply on the watch's
connection. Only a gap, told, moves it otherwise.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from coord.api.events import CREATED, DELETED, Change
from coord.jepsen_like.checkers.known import Known, concerns
from coord.jepsen_like.checkers.log import Log
from coord.jepsen_like.checkers.replay import answered
from coord.jepsen_like.checkers.violation import Violation
from coord.jepsen_like.history import Operation, Record, WatchOpened, WatchOver, WatchTold

PROMISE = "watches"
FOUND_MAX = 20


class _Watch:
    __slots__ = (
        "connection",
        "gap",
        "is_open",
        "next_match",
        "opened_at",
        "path",
        "scope",
        "session",
        "through",
    )

    def __init__(self, path: str, scope: str, session: int) -> None:
        self.path = path
        self.scope = scope
        self.session = session
        self.through = -1
        """Below 0: nothing is known of how far it was told."""
        self.next_match: int | None = None
        """The first revision after ``through`` that concerns it."""
        self.connection = 0
        self.is_open = False
        self.gap = False
        """A gap was told; it begins anew."""
        self.opened_at = -1


def check(records: Sequence[Record]) -> list[Violation]:
    found: list[Violation] = []
    for each in _Checker(records).run():
        found.append(each)
        if len(found) == FOUND_MAX:
            break
    return found


class _Checker:
    def __init__(self, records: Sequence[Record]) -> None:
        self._records = records
        self._known = Known(records, Log(records))
        self._watches: dict[int, _Watch] = {}
        self._open: dict[int, dict[int, _Watch]] = {}
        """Connection -> the watches that are open on it, by number."""
        self._told: dict[tuple[int, str], tuple[tuple[Change, ...], int]] = {}
        """Without a log: what was told of a revision and a path, and where."""

    def run(self) -> Iterator[Violation]:
        if not any(type(each) is WatchOpened for each in self._records):
            return
        called = _Called(self._records)
        for place, each in enumerate(self._records):
            kind = type(each)
            if kind is Operation:
                if each.connection and each.revision is not None and each.connection in self._open:  # type: ignore[union-attr]
                    yield from self._replied(each, place)  # type: ignore[arg-type]
            elif kind is WatchTold:
                yield from self._delivered(each, place)  # type: ignore[arg-type]
            elif kind is WatchOpened:
                yield from self._opened(each, place, called)  # type: ignore[arg-type]
            elif kind is WatchOver:
                yield from self._over(each, place)  # type: ignore[arg-type]

    def _opened(self, record: WatchOpened, place: int, called: "_Called") -> Iterator[Violation]:
        watch = self._watches.get(record.watch)
        if watch is None:
            watch = self._watches[record.watch] = _Watch(record.path, record.scope, record.session)
        self._shut(record.watch, watch)
        begins = record.revision if record.from_revision is None else record.from_revision - 1
        if record.from_revision is None:
            future = called.first_after(record.at_ns)
            if future is not None and future[0] <= begins:
                what = (
                    f"watch {record.watch} was opened to tell what comes after revision {begins}; revision {future[0]} "
                    f"was not even asked for by then"
                )
                yield Violation(PROMISE, what, (place, future[1]))
        if watch.through >= 0 and not watch.gap:
            skipped = watch.next_match
            if skipped is not None and skipped <= begins:
                what = (
                    f"watch {record.watch} goes on after revision {begins}, and was never told of {skipped}"
                )
                yield Violation(PROMISE, what, (watch.opened_at, place))
            begins = max(begins, watch.through)
        watch.gap = False
        watch.opened_at = place
        watch.connection = record.connection
        watch.is_open = True
        self._open.setdefault(record.connection, {})[record.watch] = watch
        self._move(watch, begins)

    def _delivered(self, record: WatchTold, place: int) -> Iterator[Violation]:
        watch = self._watches.get(record.watch)
        if watch is None or not watch.is_open or watch.connection != record.connection:
            what = (
                f"watch {record.watch} was told of revision {record.revision} on connection {record.connection}, "
                f"where it is not open"
            )
            yield Violation(PROMISE, what, (place,))
            return
        revision = record.revision
        if revision <= watch.through:
            what = f"watch {record.watch} was told of revision {revision}, after all through {watch.through}"
            yield Violation(PROMISE, what, (watch.opened_at, place))
            return
        if watch.next_match is not None and watch.next_match < revision:
            what = f"watch {record.watch} was told of revision {revision}, and not of {watch.next_match} before it"
            yield Violation(PROMISE, what, (watch.opened_at, place))
        yield from self._whole(watch, record, place)
        self._move(watch, revision)

    def _whole(self, watch: _Watch, record: WatchTold, place: int) -> Iterator[Violation]:
        """The delivery is exactly what the revision changed, of what concerns the watch."""
        told = record.changes
        for change in told:
            if not concerns(watch.path, watch.scope, watch.session, change):
                what = f"watch {record.watch} of {watch.path} ({watch.scope}) was told of {change[1]}"
                yield Violation(PROMISE, what, (watch.opened_at, place))
                return
        logged = self._known.changes.get(record.revision)
        if logged is not None:
            wanted = tuple(each for each in logged if concerns(watch.path, watch.scope, watch.session, each))
            if not _same(told, wanted):
                what = f"watch {record.watch} was told {told} of revision {record.revision}; the log has {wanted}"
                yield Violation(PROMISE, what, (watch.opened_at, place))
        elif self._known.complete and record.revision >= self._known.first:
            what = f"watch {record.watch} was told of revision {record.revision}; the log ends at {self._known.last}"
            yield Violation(PROMISE, what, (place,))
        elif not self._known.complete:
            yield from self._agrees(watch, record, place)

    def _agrees(self, watch: _Watch, record: WatchTold, place: int) -> Iterator[Violation]:
        """Without a log: watches that tell of the same revision and path tell the same of it."""
        by_path: dict[str, tuple[Change, ...]] = {}
        for change in record.changes:
            if change[0] > DELETED:
                continue  # of a path's claims each hears its own
            by_path[change[1]] = (*by_path.get(change[1], ()), change)
        for path in self._known.paths(record.revision):
            if (
                concerns(watch.path, watch.scope, 0, (CREATED, path, None, 0, 0, 0, 0))
                and path not in by_path
            ):
                what = (
                    f"watch {record.watch} was not told of {path} with the rest of revision {record.revision}"
                )
                yield Violation(PROMISE, what, (watch.opened_at, place))
        for path, changes in by_path.items():
            before = self._told.setdefault((record.revision, path), (changes, place))
            if not _same(changes, before[0]):
                what = f"two watches were told different things of {path} at revision {record.revision}"
                yield Violation(PROMISE, what, (before[1], place))

    def _replied(self, operation: Operation, place: int) -> Iterator[Violation]:
        revision = operation.revision
        for number, watch in self._open[operation.connection].items():
            if watch.next_match is not None and revision is not None and watch.next_match <= revision:
                what = (
                    f"a reply showed revision {revision} before watch {number}, open on its connection, was told of "
                    f"revision {watch.next_match}"
                )
                yield Violation(PROMISE, what, (watch.opened_at, place))
                self._move(watch, revision)  # told once; what comes late will be found there

    def _over(self, record: WatchOver, place: int) -> Iterator[Violation]:
        watch = self._watches.get(record.watch)
        if watch is None:
            return
        if record.error == "gap":
            if record.first_revision and watch.through >= 0 and record.first_revision <= watch.through + 1:
                what = (
                    f"watch {record.watch} was told of a gap up to revision {record.first_revision}, after all "
                    f"through {watch.through}"
                )
                yield Violation(PROMISE, what, (watch.opened_at, place))
            watch.gap = True
        self._shut(record.watch, watch)

    def _shut(self, number: int, watch: _Watch) -> None:
        watch.is_open = False
        there = self._open.get(watch.connection)
        if there is not None:
            there.pop(number, None)
            if not there:
                del self._open[watch.connection]

    def _move(self, watch: _Watch, through: int) -> None:
        watch.through = through
        watch.next_match = self._known.next_after(watch.path, watch.scope, watch.session, through)


class _Called:
    """The writes that made a revision, by the time at which they were called."""

    def __init__(self, records: Sequence[Record]) -> None:
        writes = sorted(
            (each.called_ns, revision, place)
            for revision, place, each, made_it in answered(records)
            if made_it
        )
        self._called_ns = [called_ns for called_ns, _, _ in writes]
        self._least = [(revision, place) for _, revision, place in writes]
        """Of that write and all called later."""
        for at in range(len(writes) - 2, -1, -1):
            self._least[at] = min(self._least[at], self._least[at + 1])

    def first_after(self, at_ns: int) -> tuple[int, int] | None:
        """The least ``(revision, place)`` of the writes that were called after ``at_ns``."""
        at = bisect_right(self._called_ns, at_ns)
        return self._least[at] if at < len(self._least) else None


def _same(told: tuple[Change, ...], logged: tuple[Change, ...]) -> bool:
    """A client library may keep a change's request to itself: 0."""
    return len(told) == len(logged) and all(
        one[:5] == other[:5] and one[6] == other[6] and (one[5] == other[5] or not one[5] or not other[5])
        for one, other in zip(told, logged, strict=True)
    )
