"""Invariants that stay on.

``assert`` vanishes under ``python -O``; a consensus system that stops checking itself in production
is checked exactly where it does not matter. So the pure rooms call :func:`check`.
"""


class InvariantViolation(AssertionError):
    """A sentence that must always hold did not: a bug in coord. The member stops, rather than go on."""


def check(ok: bool, what: str, *details: object) -> None:
    """Raise :class:`InvariantViolation` unless ``ok``; ``details`` are appended to ``what`` only then."""
    if not ok:
        shown = ", ".join(repr(detail) for detail in details)
        raise InvariantViolation(f"{what} ({shown})" if details else what)
