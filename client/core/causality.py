"""A revision that is handed from one process to another, so that the second sees what the first had seen. Sans IO.

It travels as plain decimal text: in a header, a message, an environment variable. Whoever gets it says
``client.see(text)``, or starts with ``COORD_AT_LEAST`` set, and no read of that client is older from then on.
"""

from typing import Final

from coord.api.errors import InvalidRequest
from coord.wire.op_rows import INT_MAX, check_int

AT_LEAST_VARIABLE: Final = "COORD_AT_LEAST"


def parse_revision(revision: int | str, where: str = "a revision") -> int:
    """``1234`` or ``"1234"``. Raises :class:`InvalidRequest` (refused) that names ``where`` it stood."""
    if isinstance(revision, str):
        digits = revision.strip()
        # Not int() alone: it also takes "1_000", "+1", and the digits of other scripts.
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 19):
            raise InvalidRequest(f"{where} is written in decimal digits, as in 1234; not {revision!r:.40}")
        revision = int(digits)
    return check_int(revision, 0, INT_MAX, where)


class Floor:
    """No read of one client is of a revision before this one; shared by all its namespaces."""

    __slots__ = ("revision",)

    def __init__(self, revision: int = 0) -> None:
        self.revision = revision

    def see(self, revision: int | str) -> None:
        """It never goes down."""
        self.revision = max(self.revision, parse_revision(revision))
