"""Claims: tokens grow, never more than fit, first come first served, nobody waits at what is free.

And all ends with the session, or the znode. From the log, change by change, and from what clients were answered, which
must be what the log says. That a client hears of each grant once, in order and before any reply that shows it is a
watch's promise (:mod:`watches`); that two never both believe that they hold the same is :mod:`exclusion`; what tokens
protect, :mod:`fences`.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from coord.api.events import CLAIMED, DELETED, QUEUED, RELEASED, WITHDRAWN, Change, Reason
from coord.api.ops import Claim, ClaimFirst, ClaimInfo, Claims, Release, WatchScope
from coord.api.results import ClaimedFirst, ClaimFacts, Claiming, ClaimPage, MultiResult, Released
from coord.jepsen_like.checkers.about import about_claims, plain
from coord.jepsen_like.checkers.ledger import TRANSFERRED, Entry, Ledger, is_at_or_below
from coord.jepsen_like.checkers.log import Log
from coord.jepsen_like.checkers.violation import Violation
from coord.jepsen_like.history import Operation, Record, Run, SessionOpened, SessionOver
from coord.limits import GRANTS_MAX

TOKENS: Final = "tokens grow"
CAPACITY: Final = "capacity"
FIRST_COME: Final = "first come, first served"
WAITING: Final = "nobody waits at what is free"
ENDS: Final = "claims end with their session and their znode"
GIVEN_BACK: Final = "what nobody waits for any more is given back"
ANSWERS: Final = "claims are as they are told"
FOUND_MAX: Final = 20

DELAY_SLACK_NS: Final = 10_000_000_000
"""A lock delay is over some time after the next entry of the log."""

GRANTS_NOTE: Final = "grants_max"
"""In the notes of :class:`Run`: how many one revision grants at most, if not ``GRANTS_MAX``."""

_ENDS: Final = (int(Reason.SESSION_ENDED), int(Reason.SESSION_EXPIRED))


def check(records: Sequence[Record]) -> list[Violation]:
    return [each for each, _ in zip(_Checker(records).run(), range(FOUND_MAX), strict=False)]


class _Checker:
    def __init__(self, records: Sequence[Record]) -> None:
        self._records = records
        self._log = Log(records)
        self._ledger = Ledger(records)
        notes = records[0].notes if records and type(records[0]) is Run else {}
        self._grants_max = int(notes.get(GRANTS_NOTE, GRANTS_MAX))
        self._ended: dict[int, int] = {}
        """Sessions that ended with claims -> at which revision."""
        self._told: dict[int, list[tuple[int, Operation]]] = {}
        """Revision -> ``(place, operation)`` of those that were answered at it, and tell of claims."""
        for place, each in enumerate(records):
            if type(each) is Operation and each.revision is not None and about_claims(each.op):
                self._told.setdefault(each.revision, []).append((place, each))

    def run(self) -> Iterator[Violation]:
        log, ledger = self._log, self._ledger
        if not log or log.first > 1:
            return  # what was before is not known
        revisions = sorted(log.entries)
        yield from self._answers(0)
        for revision in revisions:
            yield from self._revision(revision)
            yield from self._answers(revision)
        yield from self._at_the_end(log.entries[revisions[-1]].at_ns)
        yield from self._given_back()
        for session, place in _told_over(self._records):
            left = sorted(each.number for each in ledger.claims.values() if each.session == session)
            if left:
                what = f"session {session} was told to be over, and its claims {left} stay"
                yield Violation(ENDS, what, (place,))

    # --- one revision ---

    def _revision(self, revision: int) -> Iterator[Violation]:
        log, ledger = self._log, self._ledger
        place, at_ns = log.places[revision], log.entries[revision].at_ns
        used = {
            change[1]: sum(each.units for each in ledger.held(change[1]))
            for change in log.of_claims.get(revision, ())
        }
        touched: dict[str, None] = {}
        grants = 0
        for change in log.whole[revision]:
            touched[change[1]] = None
            if change[0] == CLAIMED:
                grants += 1
                yield from self._granted(change, revision, place)
            elif change[0] in (RELEASED, WITHDRAWN):
                yield from self._over(change, revision, place)
            elif change[0] == QUEUED and change[5] in (ledger.claims | ledger.over):
                yield Violation(TOKENS, f"the number {change[5]} was given to two claims", (place,))
            ledger.apply(change, revision, at_ns)
        for change in log.whole[revision]:
            if change[0] == DELETED and change[1] not in ledger.children.get(_above(change[1]), ()):
                left = sorted(ledger.at_path.get(change[1], ()))
                if left:
                    what = f"{change[1]} was deleted at revision {revision}, and its claims {left} stay"
                    yield Violation(ENDS, what, (place,))
            if change[6] in _ENDS:
                left = sorted(each.number for each in ledger.claims.values() if each.session == change[4])
                if left:
                    what = f"session {change[4]} ended at revision {revision}, and its claims {left} stay"
                    yield Violation(ENDS, what, (place,))
        for path, before in used.items():
            yield from self._fits(path, before, revision, place)
        # One revision looks at so many paths at most; what is left over from earlier ones goes first. Where that is a
        # handful (worlds that draw it) only the simulator, which sees what is left over, can tell.
        if grants < self._grants_max and len(ledger.at_path) < self._grants_max:
            for path in touched:
                yield from self._nobody_is_next(path, revision, place)

    def _granted(self, change: Change, revision: int, place: int) -> Iterator[Violation]:
        ledger = self._ledger
        _, path, _, _, session, number, reason = change
        entry = ledger.claims.get(number)
        if number in ledger.over or (entry is not None and entry.token):
            yield Violation(TOKENS, f"claim {number} was granted again at revision {revision}", (place,))
            return
        if session in self._ended:
            what = f"claim {number} was granted to session {session}, which ended at {self._ended[session]}"
            yield Violation(ENDS, what, (place,))
        if entry is not None and entry.path not in _waited_for(entry, path):
            what = f"claim {number} waited for {entry.path}, and was granted {path} at revision {revision}"
            yield Violation(ANSWERS, what, (place,))
        lost = ledger.lost.get(path, 0)
        if lost is not None and change[3] != lost:
            what = (
                f"claim {number} was told that {change[3]} claims of {path} were lost before it, not {lost}"
            )
            yield Violation(ANSWERS, f"{what}, at revision {revision}", (place,))
        if reason == TRANSFERRED:
            return
        for lane in ledger.lanes.get(path) or ():
            held = ledger.in_lane(lane.name)
            if 0 < lane.width <= held:
                what = f"claim {number} was granted {path} at revision {revision}, beside {held} others in the lane"
                yield Violation(CAPACITY, f"{what} {lane.name!r}, which is {lane.width} wide", (place,))
        queue = ledger.queue(path)
        if not ledger.held(path) and _above(path) not in ledger.held_back:
            queue += ledger.queue_for_any(_above(path))
        earlier = [each.number for each in queue if entry is None or each.number < number]
        if earlier:
            what = (
                f"claim {number} was granted {path} at revision {revision}, before {earlier}, who came first"
            )
            yield Violation(FIRST_COME, what, (place,))

    def _over(self, change: Change, revision: int, place: int) -> Iterator[Violation]:
        kind, path, _, token, session, number, reason = change
        entry = self._ledger.claims.get(number)
        if entry is None:
            yield Violation(ENDS, f"claim {number} ended at revision {revision}, and was no more", (place,))
            return
        if (path, token, session) != (entry.path, entry.token, entry.session) or (
            (kind == RELEASED) != bool(entry.token)
        ):
            what = f"claim {number} of {entry.path}, with the token {entry.token}, ended as {change}"
            yield Violation(ANSWERS, what, (place,))
        if reason in _ENDS:
            self._ended.setdefault(session, revision)

    def _fits(self, path: str, before: int, revision: int, place: int) -> Iterator[Violation]:
        """Capacity may be lowered below what is held; then nothing is added."""
        held = self._ledger.held(path)
        if any(not each.units for each in held):
            return
        alone = [each for each in held if not each.shared]
        if alone and len(alone) < len(held):
            what = f"{path} is shared and held alone, by {_numbers(held)}, at revision {revision}"
            yield Violation(CAPACITY, what, (place,))
        used = sum(each.units for each in alone)
        if used > max(before, self._ledger.capacity(path)):
            what = f"{used} units of {path} are held at revision {revision}, by {_numbers(held)}"
            yield Violation(CAPACITY, f"{what}; its capacity is {self._ledger.capacity(path)}", (place,))

    def _nobody_is_next(self, path: str, revision: int, place: int) -> Iterator[Violation]:
        ledger = self._ledger
        paths = [path]
        if ledger.queue_for_any(path):
            paths += sorted(ledger.children.get(path, ()))
        for each in paths:
            found = ledger.next_at(each)
            if found is None or ledger.may_be_kept_back(each):
                continue
            if found.waits_for_any and found.path in ledger.held_back:
                continue
            if ledger.fits(each, found.units, found.shared) and found.units:
                what = f"claim {found.number} waits at revision {revision}, though {each} is free for it"
                yield Violation(WAITING, what, (place,))

    def _at_the_end(self, end_ns: int) -> Iterator[Violation]:
        """When all is healed and quiet: also lock delays have come to their end."""
        ledger = self._ledger
        for path, since_ns in ledger.delayed.items():
            long_ns = 2 * ledger.delays_ms.get(path, 0) * 1_000_000 + DELAY_SLACK_NS
            found = ledger.next_at(path)
            if path in ledger.held_back or path in ledger.lanes:
                continue
            if found is None or not found.units or not end_ns or end_ns <= since_ns + long_ns:
                continue
            if ledger.fits(path, found.units, found.shared):
                what = f"claim {found.number} waits for {path}, whose lock delay must be over"
                yield Violation(WAITING, what, ())

    def _given_back(self) -> Iterator[Violation]:
        """A claim whose caller has gone away without an answer is not left behind, as long as its session lives."""
        forsaken: dict[bytes, int] = {}
        lives: dict[int, int] = {}
        """Process -> its session, in the end."""
        for place, each in enumerate(self._records):
            if type(each) is SessionOpened:
                lives[each.process] = each.session
            elif type(each) is SessionOver and lives.get(each.process) == each.session:
                del lives[each.process]
            elif type(each) is Operation and (each.error, each.outcome) == ("deadline_exceeded", "unknown"):
                forsaken[getattr(each.op, "label", b"")] = place
        living = dict.fromkeys(lives.values())
        for entry in self._ledger.claims.values():
            if entry.label and entry.label in forsaken and entry.session in living:
                what = f"claim {entry.number} of {entry.path} is there in the end, though nobody waits for its answer"
                yield Violation(GIVEN_BACK, what, (forsaken[entry.label],))

    # --- what clients were told ---

    def _answers(self, revision: int) -> Iterator[Violation]:
        for place, each in self._told.get(revision, ()):
            op = plain(each.op)
            if each.outcome == "refused":
                yield from self._refusal(op, each, place)
            elif each.outcome == "ok":
                wrong = self._wrong(op, each.result, each)
                if wrong:
                    yield Violation(ANSWERS, f"{wrong}, at revision {revision}", (place,))

    def _refusal(self, op: Any, operation: Operation, place: int) -> Iterator[Violation]:
        ledger, revision = self._ledger, operation.revision
        if isinstance(op, Claim) and operation.error == "claimed":
            if ledger.is_free(op.path, op.units, op.shared):
                what = f"a claim of {op.path} was refused, which is free at revision {revision}"
                yield Violation(ANSWERS, what, (place,))
        elif isinstance(op, Claim) and operation.error == "conflict":
            if op.capacity in (0, ledger.capacity(op.path)):
                what = f"a claim of {op.path} was refused at revision {revision}, where its capacity is as expected"
                yield Violation(ANSWERS, what, (place,))
        elif isinstance(op, Release) and operation.error == "not_held":
            entry = ledger.claims.get(op.number)
            if entry is not None and (entry.session == operation.session or op.force):
                what = f"claim {op.number} is not held, it was told, but is at revision {revision}"
                yield Violation(ANSWERS, what, (place,))

    def _wrong(self, op: Any, result: Any, operation: Operation) -> str:
        """What is wrong with an answer; empty: nothing."""
        ledger, revision = self._ledger, operation.revision or 0
        if isinstance(result, MultiResult):
            branch = op.then if result.succeeded else op.otherwise
            for each, one in zip(branch, result.results, strict=True):
                if isinstance(each, Claim | Release):
                    wrong = self._wrong(each, one, operation)
                    if wrong:
                        return wrong
            return ""
        if isinstance(op, Claim):
            if not isinstance(result, Claiming):
                return f"a claim was answered {result!r}"
            wanted = revision if result.token else 0
            if result.token and result.token.revision != revision:
                return f"claim {result.number} was told the token {result.token}"
            if op.capacity not in (0, ledger.capacity(op.path)):
                return f"claim {result.number} expects a capacity of {op.capacity}, not {ledger.capacity(op.path)}"
            return self._made(result.number, op.path, wanted, operation) or self._is_behind(result)
        if isinstance(op, ClaimFirst) and isinstance(result, ClaimedFirst):
            if result.waiting:
                return self._made(result.waiting, op.parent, 0, operation)
            if result.children and result.token.revision != revision:
                return f"{len(result.children)} children were told to have the token {result.token}"
            for child in result.children:
                wrong = self._made(child.number, f"{op.parent.rstrip('/')}/{child.name}", revision, operation)
                if wrong:
                    return wrong
        elif isinstance(op, Release) and isinstance(result, Released):
            return self._was_released(op, result, operation)
        elif isinstance(op, Claims) and isinstance(result, ClaimPage):
            return self._page(op, result)
        elif isinstance(op, ClaimInfo) and isinstance(result, ClaimFacts):
            held = len(ledger.held(op.path))
            waiting = len(ledger.at_path.get(op.path, ())) - held
            lost = ledger.lost.get(op.path, 0)
            if lost is not None and result.lost != lost:
                return f"{op.path} is told to have lost {result.lost} claims, not {lost}"
            told = (result.capacity, result.holders, result.waiters)
            if told != (ledger.capacity(op.path), held, waiting):
                return (
                    f"{op.path} is told to have (capacity, holders, waiters) {told}, not {held} and {waiting}"
                )
        return ""

    def _made(self, number: int, path: str, token: int, operation: Operation) -> str:
        """Whether the log has this claim made at the operation's revision."""
        kind = CLAIMED if token else QUEUED
        for change in self._log.of_claims.get(operation.revision or 0, ()):
            if (change[0], change[1], change[4], change[5]) == (kind, path, operation.session, number):
                return ""
        return f"claim {number} of {path} is told to be {'held' if token else 'waiting'}, and the log has none such"

    def _is_behind(self, result: Claiming) -> str:
        entry = self._ledger.claims.get(result.number)
        if entry is None or entry.token:
            return ""
        before = self._ledger.before(entry)
        for change in self._log.of_claims.get(result.revision, ()):
            # The same revision may have granted some of them: what was left over from the one before.
            before += change[0] == CLAIMED and change[1] == entry.path and change[5] < entry.number
        return "" if before == result.before else f"{result.before} wait before {result.number}, not {before}"

    def _was_released(self, op: Release, result: Released, operation: Operation) -> str:
        for change in self._log.of_claims.get(operation.revision or 0, ()):
            if change[5] == op.number and change[0] in (RELEASED, WITHDRAWN):
                if (result.token or 0) != change[3]:
                    return f"claim {op.number} was told to have had the token {result.token}"
                if change[4] != operation.session and not op.force:
                    return f"claim {op.number} of session {change[4]} was released by {operation.session}"
                return ""
        return f"claim {op.number} was told to be released, and the log has nothing of it"

    def _page(self, op: Claims, page: ClaimPage) -> str:
        entries = sorted(
            (each for each in self._ledger.claims.values() if _is_asked_for(op, each)),
            key=lambda each: each.number,
        )[: op.limit]
        if [each.number for each in page.claims] != [each.number for each in entries][: len(page.claims)] or (
            len(page.claims) < len(entries) and not page.more
        ):
            return f"claims {[each.number for each in page.claims]} are listed, not {_numbers(entries)}"
        for row, entry in zip(page.claims, entries, strict=False):
            token = row.token.revision if row.token else 0
            told = (row.path, row.session, token, row.label, row.before if not token else 0)
            before = 0 if entry.token else self._ledger.before(entry)
            if told != (entry.path, entry.session, entry.token, entry.label, before):
                return f"claim {row.number} is listed as {told}"
            if entry.units and (row.units, row.shared) != (entry.units, entry.shared):
                return f"claim {row.number} is listed with {row.units} units, shared: {row.shared}"
        return ""


def _is_asked_for(op: Claims, entry: Entry) -> bool:
    if entry.number <= (op.after or 0) or op.session not in (None, entry.session):
        return False
    return entry.path == op.path or (op.scope != WatchScope.ZNODE and is_at_or_below(entry.path, op.path))


def _told_over(records: Sequence[Record]) -> list[tuple[int, int]]:
    """``(session, place)`` of those whose clients a member told that they are over."""
    told: dict[int, int] = {}
    for place, each in enumerate(records):
        if type(each) is SessionOver and each.by == "member":
            told.setdefault(each.session, place)
    return list(told.items())


def _numbers(entries: Sequence[Entry]) -> list[int]:
    return [each.number for each in entries]


def _above(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def _waited_for(entry: Entry, path: str) -> tuple[str, ...]:
    """Where who is granted ``path`` may have waited: there, or above for any; both, if nobody knows for what."""
    if not entry.units:
        return (path, _above(path))
    return (_above(path) if entry.waits_for_any else path,)
