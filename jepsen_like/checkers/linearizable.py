"""Linearizable, by witness: the revisions say in which order things took effect, and that order is tried.

Every answer shows a revision, so no order need be searched for. Writes that changed something stand in the order of
their revisions, everything else right behind the revision it saw. That this is a linearization takes two things:

- it keeps real time: an operation called after another had returned shows no less than that one did, and a write that
  changed something shows more (`_real_time`). A write whose outcome is unknown takes part exactly if the log has it;
- each answer is the one that a sequential tree gives at that place (:mod:`~coord.jepsen_like.checkers.replay`).

What reads of the modes ``at_least`` and ``local`` show counts as seen (a later linearizable operation must not fall
behind it), likewise what a watch was told; that they themselves may be old is their mode, and :mod:`causal` judges
them.
"""

from collections.abc import Sequence

from coord.jepsen_like.checkers.log import Log
from coord.jepsen_like.checkers.replay import FINDINGS_MAX, Answer, Replay, answered
from coord.jepsen_like.checkers.violation import Violation
from coord.jepsen_like.history import Operation, Record, WatchTold

PROMISE = "linearizable"
MODES = frozenset({"write", "linearizable"})


def check(records: Sequence[Record]) -> list[Violation]:
    log = Log(records)
    answers = answered(records)
    found = [*_log_agrees(answers, log), *_real_time(records, answers, log)]
    replay = Replay(records, log, MODES, answers)
    return found + [Violation(PROMISE, what, places) for what, places in replay.run()]


def _real_time(records: Sequence[Record], answers: list[Answer], log: Log) -> list[Violation]:
    """A sweep over the calls in the order of time; the greatest revision shown before each is its floor."""
    calls: list[tuple[int, int, bool, int]] = [  # (called, revision, it made that revision, place)
        (each.called_ns, revision, made_it, place)
        for revision, place, each, made_it in answers
        if each.mode in MODES
    ]
    shown: list[tuple[int, int, int]] = [  # (returned, revision, place)
        (each.returned_ns, revision, place)
        for revision, place, each, _ in answers
        if each.returned_ns is not None
    ]
    requests = log.requests()
    for place, record in enumerate(records):
        if type(record) is Operation:
            if record.outcome == "unknown" and record.request:
                made = requests.get((record.session, record.request))
                if made is not None:
                    calls.append((record.called_ns, made, True, place))
        elif type(record) is WatchTold:
            shown.append((record.at_ns, record.revision, place))
    calls.sort()
    shown.sort()
    shown.append((calls[-1][0] + 1 if calls else 0, 0, -1))  # so that the sweep needs no bounds
    found: list[Violation] = []
    floor, floor_place, at = 0, -1, 0
    returned_ns, revision_shown, shown_place = shown[0]
    for called_ns, revision, made_it, place in calls:
        while returned_ns < called_ns:
            if revision_shown > floor:
                floor, floor_place = revision_shown, shown_place
            at += 1
            returned_ns, revision_shown, shown_place = shown[at]
        if revision <= floor and (made_it or revision < floor):
            what = (
                f"it made revision {revision}, after {floor} had been shown before it was called"
                if made_it
                else f"a stale answer: revision {revision}, after {floor} had been shown before it was called"
            )
            found.append(Violation(PROMISE, what, (floor_place, place)))
            if len(found) == FINDINGS_MAX:
                break
    return found


def _log_agrees(answers: list[Answer], log: Log) -> list[Violation]:
    """Revisions and log indices grow together, and a revision's index is the one that its writer was told."""
    found: list[Violation] = []
    told = {revision: (entry.index, log.places[revision]) for revision, entry in log.entries.items()}
    for revision, place, each, made_it in answers:
        if made_it and each.index is not None:
            index, before_place = told.setdefault(revision, (each.index, place))
            if index != each.index:
                what = f"revision {revision} came at log index {index}, and at {each.index}"
                found.append(Violation(PROMISE, what, (before_place, place)))
    before_index, before_place = 0, -1
    for revision in sorted(told):
        index, place = told[revision]
        if index < before_index:
            what = f"revision {revision} came at log index {index}, and the one before at {before_index}"
            found.append(Violation(PROMISE, what, (before_place, place)))
        before_index, before_place = index, place
    return found[:FINDINGS_MAX]
