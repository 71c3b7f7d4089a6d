"""The check of the talk itself: no client is told, or tells, that the other does not speak the protocol.

Neither is anybody's outcome, and so no other checker would see it.
"""

from collections.abc import Sequence
from typing import Final

from coord.jepsen_like.checkers.violation import Violation
from coord.jepsen_like.history import Note, Record

PROMISE: Final = "conversation"
DISTRUSTS: Final = "client_distrusts"
"""What came from a member is not the protocol."""
FAILED: Final = "client_failed"
"""The client is over for another reason than its session's end; ``error`` says why."""


def check_conversation(records: Sequence[Record]) -> list[Violation]:
    found: list[Violation] = []
    for position, each in enumerate(records):
        if not isinstance(each, Note) or each.what not in (DISTRUSTS, FAILED):
            continue
        # A first hello may be refused for a limit; that is a named outcome, and the driver tries again.
        if each.what == DISTRUSTS or each.facts.get("error") != "limit_exceeded":
            found.append(
                Violation(PROMISE, f"process {each.process}: {each.facts.get('message')}", (position,))
            )
    return found
