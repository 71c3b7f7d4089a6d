"""Sessions: ephemerals live and die with theirs, it ends late rather than early, and what ended stays ended.

When a session ended is seen in the log only if it owned something then. What its client was told is seen always. Both
are used: each question below says what it rests on.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from coord.api.events import DELETED, Reason
from coord.jepsen_like.checkers.log import Log
from coord.jepsen_like.checkers.replay import Replay
from coord.jepsen_like.checkers.violation import Violation
from coord.jepsen_like.history import Operation, Record, Run, SessionOpened, SessionOver, SessionProof

PROMISE: Final = "sessions"
FOUND_MAX: Final = 20

SLACK_SHARE: Final = 0.02
"""Of the timeout: by so much may the leader's clock run faster than the history's. The promise allows clocks one
percent either way."""

SLACK_NOTE: Final = "session_slack_share"
"""In the notes of :class:`Run`: another slack for this history, whose clocks are worse."""

_ENDED, _EXPIRED = int(Reason.SESSION_ENDED), int(Reason.SESSION_EXPIRED)
_MS: Final = 1_000_000


class _End:
    """A session's end, as its client was told or as the log has it. Times are 0, and revisions, where not known."""

    def __init__(self, at_ns: int, place: int, reason: int = 0) -> None:
        self.at_ns = at_ns
        self.place = place
        self.reason = reason


def check(records: Sequence[Record], slack_share: float | None = None) -> list[Violation]:
    """``slack_share``: if not given, the run's own, else :data:`SLACK_SHARE`."""
    if slack_share is None:
        notes = records[0].notes if records and type(records[0]) is Run else {}
        slack_share = float(notes.get(SLACK_NOTE, SLACK_SHARE))
    found: list[Violation] = []
    log = Log(records)
    told = _told(records)
    for each in (
        *_ephemerals(records, log, told),
        *_stays_ended_in_the_log(log),
        *_stays_ended_for_clients(records, told),
        *_really_ended(records, log, told),
        *_not_early(records, log, told, slack_share),
    ):
        found.append(each)
        if len(found) == FOUND_MAX:
            break
    return found


def _told(records: Sequence[Record]) -> dict[int, _End]:
    """The sessions whose clients a member told that they ended, by the first telling."""
    told: dict[int, _End] = {}
    for place, each in enumerate(records):
        if type(each) is SessionOver and each.by == "member":
            told.setdefault(each.session, _End(each.at_ns, place))
        elif (
            type(each) is Operation
            and each.error == "session_ended"
            and each.outcome == "refused"
            and each.connection
            and each.session
            and each.returned_ns is not None
        ):
            told.setdefault(each.session, _End(each.returned_ns, place))
    return told


def _ephemerals(records: Sequence[Record], log: Log, told: dict[int, _End]) -> Iterator[Violation]:
    """An end takes all that the session owns, in one revision, and nothing else; in the end nothing is left of those
    that were told to be over (from the log)."""
    if not log:
        return
    replay = Replay(records, log, frozenset())
    owned: dict[int, list[str]] = {}
    owner: dict[str, int] = {}
    for revision in replay.steps():
        entry = log.entries.get(revision)
        if entry is None:
            continue
        ended = {change[4]: change[6] for change in entry.changes if change[6] in (_ENDED, _EXPIRED)}
        for session in sorted(ended):
            gone = sorted(change[1] for change in entry.changes if change[6] in (_ENDED, _EXPIRED))
            before = owned.get(session, [])
            left = [path for path in before if path not in gone]
            if left:
                what = f"session {session} ended at revision {revision}, and left {', '.join(left)}"
                yield Violation(PROMISE, what, (log.places[revision],))
            others = [path for path in gone if path not in before] if not replay.tree.guessing else []
            if others:
                what = (
                    f"the end of session {session} at revision {revision} took {', '.join(others)} of others"
                )
                yield Violation(PROMISE, what, (log.places[revision],))
            del ended[session]
            if ended:
                yield Violation(
                    PROMISE, f"several sessions end at revision {revision}", (log.places[revision],)
                )
                break
        for change in entry.changes:  # anybody may delete an ephemeral, not only its session
            for session in {change[4], owner.pop(change[1], 0)}:
                owned[session] = sorted(replay.tree.owned.get(session, ()))
                owner.update(dict.fromkeys(owned[session], session))
    for session, over in told.items():
        still = sorted(replay.tree.owned.get(session, ()))
        if still:
            what = f"session {session} was told to be over, and {', '.join(still)} of it stay"
            yield Violation(PROMISE, what, (over.place,))


def _stays_ended_in_the_log(log: Log) -> Iterator[Violation]:
    """After a session's end nothing is its doing, and it does not end again."""
    ended: dict[int, int] = {}
    for revision in sorted(log.entries):
        changes = log.entries[revision].changes
        for session in sorted({change[4] for change in changes if change[4]}):
            if session in ended:
                what = f"session {session} ended at revision {ended[session]}, and changed something at {revision}"
                yield Violation(PROMISE, what, (log.places[ended[session]], log.places[revision]))
        for change in changes:
            if change[0] == DELETED and change[6] in (_ENDED, _EXPIRED):
                ended.setdefault(change[4], revision)


def _stays_ended_for_clients(records: Sequence[Record], told: dict[int, _End]) -> Iterator[Violation]:
    """Once told that it is over, nothing asked later in its name is done, nor is it proven alive."""
    for place, each in enumerate(records):
        kind = type(each)
        if kind is not Operation and kind is not SessionProof:
            continue
        over = told.get(each.session)  # type: ignore[union-attr]
        if over is None or each.called_ns <= over.at_ns:  # type: ignore[union-attr]
            continue
        if kind is SessionProof:
            what = f"session {each.session} was proven alive after it was told to be over"  # type: ignore[union-attr]
            yield Violation(PROMISE, what, (over.place, place))
        elif each.outcome == "ok" and each.mode == "write":  # type: ignore[union-attr]
            what = f"a write of session {each.session} was done after it was told to be over"  # type: ignore[union-attr]
            yield Violation(PROMISE, what, (over.place, place))


def _really_ended(records: Sequence[Record], log: Log, told: dict[int, _End]) -> Iterator[Violation]:
    """Nothing of a session that was told to be over takes effect later: at or after a revision that was asked for, or
    applied, after the telling."""
    if not log or not told:
        return
    requests = log.requests()
    calls = sorted(
        (each.called_ns, requests[(each.session, each.request)])
        for each in records
        if type(each) is Operation and (each.session, each.request) in requests
    )
    times = sorted((entry.at_ns, revision) for revision, entry in log.entries.items() if entry.at_ns)
    later: dict[int, int] = {}
    """Session -> the first revision that is surely later than the telling."""
    for session, over in told.items():
        after = [revision for called_ns, revision in (*calls, *times) if called_ns > over.at_ns]
        if after:
            later[session] = min(after)
    last_touched: dict[int, int] = {}
    for revision, entry in log.entries.items():
        for change in entry.changes:
            last_touched[change[4]] = max(last_touched.get(change[4], 0), revision)
    for session, first in later.items():
        if last_touched.get(session, 0) >= first:
            touched = last_touched[session]
            what = f"session {session} was told to be over before revision {first}, and changed something at {touched}"
            yield Violation(PROMISE, what, (told[session].place, log.places[touched]))


def _not_early(
    records: Sequence[Record], log: Log, told: dict[int, _End], slack_share: float
) -> Iterator[Violation]:
    """No session ends within its timeout after a proof of life that was answered was asked for; unless it asked to."""
    timeouts = {each.session: each.timeout_ms for each in records if type(each) is SessionOpened}
    asked = {each.session for each in records if type(each) is SessionOver and each.by == "request"}
    expired: dict[int, _End] = {}
    for revision, entry in log.entries.items():
        for change in entry.changes:
            if change[6] == _EXPIRED and entry.at_ns:
                expired.setdefault(change[4], _End(entry.at_ns, log.places[revision]))
            elif change[6] == _ENDED:
                asked.add(change[4])
    for session, over in told.items():
        if session not in asked:
            before = expired.get(session)
            if before is None or over.at_ns < before.at_ns:
                expired[session] = over
    for place, each in enumerate(records):
        if type(each) is not SessionProof or each.session not in expired or each.session not in timeouts:
            continue
        end = expired[each.session]
        least_ns = timeouts[each.session] * _MS * (1 - slack_share)
        if end.at_ns < each.called_ns + least_ns:
            silent_ms = (end.at_ns - each.called_ns) / _MS
            what = (
                f"session {each.session} expired {silent_ms:.0f} ms after it had asked for a proof of life, which was "
                f"answered; its timeout is {timeouts[each.session]} ms"
            )
            yield Violation(PROMISE, what, (place, end.place))
