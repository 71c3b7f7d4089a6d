"""Judges of histories: each is a pure function from a history's records to the violations of one promise.

``python -m coord.jepsen_like check FILE`` judges a file; see README.md for what each looks at.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, TypeAlias

from coord.jepsen_like.checkers import (
    acknowledged,
    availability,
    causal,
    claims,
    convergence,
    exactly_once,
    exclusion,
    fences,
    linearizable,
    search,
    sessions,
    transactions,
    watches,
)
from coord.jepsen_like.checkers.violation import Violation
from coord.jepsen_like.history import Record, load

Check: TypeAlias = Callable[[Sequence[Record]], list[Violation]]

CHECKS: Final[dict[str, Check]] = {
    "linearizable": linearizable.check,
    "search": search.check,
    "transactions": transactions.check,
    "exactly_once": exactly_once.check,
    "acknowledged": acknowledged.check,
    "watches": watches.check,
    "sessions": sessions.check,
    "causal": causal.check,
    "claims": claims.check,
    "exclusion": exclusion.check,
    "fences": fences.check,
    "convergence": convergence.check,
    "availability": availability.check,
}
"""By the promise that it guards."""


def judge(records: Sequence[Record], names: Iterable[str] | None = None) -> list[Violation]:
    """What all checkers, or those of ``names``, find. One that has nothing to look at in this history finds nothing."""
    return [found for name in (CHECKS if names is None else names) for found in CHECKS[name](records)]


def check_file(path: str | Path, names: Iterable[str] | None = None) -> list[Violation]:
    """Judge a file of JSON lines. Raises :class:`OSError`, or :class:`ValueError` where it is no history."""
    with open(path, encoding="utf-8") as lines:
        return judge(load(lines), names)


__all__ = ["CHECKS", "Check", "Violation", "check_file", "judge"]
