"""Causal reads: at or after what they asked for; and every read, of whatever mode, is of a state that was.

Who passes on the revision that it has seen, and reads ``at_least`` that, never sees older: its own writes and reads, or
those of whoever handed it the revision. A ``local`` read may be old; but not of a future that was not asked for yet
(that :mod:`linearizable` finds, as a floor), and not a mixture (found here, by replay).
"""

from collections.abc import Sequence

from coord.jepsen_like.checkers.log import Log
from coord.jepsen_like.checkers.replay import Replay
from coord.jepsen_like.checkers.violation import Violation
from coord.jepsen_like.history import Operation, Record

PROMISE = "causal"
MODES = frozenset({"at_least", "local"})


def check(records: Sequence[Record]) -> list[Violation]:
    found: list[Violation] = []
    some = False
    for place, each in enumerate(records):
        if type(each) is not Operation or each.mode not in MODES:
            continue
        some = True
        if each.mode == "at_least" and each.outcome == "ok" and (each.revision or 0) < each.at_least:
            what = f"a read at least at revision {each.at_least} was answered at {each.revision}"
            found.append(Violation(PROMISE, what, (place,)))
    if some:
        replay = Replay(records, Log(records), MODES)
        found += [Violation(PROMISE, what, places) for what, places in replay.run()]
    return found
