"""Fencing tokens: which grant of a claim a write belongs to."""

import re
from dataclasses import dataclass
from typing import Final, Self

from coord.api.errors import InvalidRequest

NUMBER_MAX: Final = 2**63 - 1
"""Of incarnation and revision: both fit the signed 64 bits of an SQL ``BIGINT``."""

_TEXT = re.compile(r"([0-9]{1,19})-([0-9]{1,19})", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Token:
    """Which grant of a claim a write belongs to. Of two grants of one path, the later has the greater token.

    Ordered by incarnation first: a restore from a backup takes revisions back, and begins a new incarnation. It has
    no order with anything else, in particular not with a bare number, which would forget the incarnation.

    As text (``"1-4711"``) it is for people, headers and logs, and does not sort (``"1-9" > "1-10"``): compare tokens,
    or, where a store can order nothing but text, use :meth:`sortable`.
    """

    incarnation: int
    """Of the cluster; from 1, one more with each restore from a backup."""
    revision: int
    """Of the grant; from 1."""

    def __post_init__(self) -> None:
        for what, number in (("incarnation", self.incarnation), ("revision", self.revision)):
            if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= NUMBER_MAX:
                raise InvalidRequest(
                    f"a token's {what} is a whole number from 1 to {NUMBER_MAX}, not {number!r:.40}"
                )

    def __str__(self) -> str:
        return f"{self.incarnation}-{self.revision}"

    def sortable(self) -> str:
        """The same in 39 characters, zeros in front: texts of this form sort as their tokens do. ``parse``
        takes it.
        """
        return f"{self.incarnation:019d}-{self.revision:019d}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The token that ``text`` says. Raises :class:`InvalidRequest` (refused)."""
        found = _TEXT.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise InvalidRequest(
                f"a fencing token is written as incarnation-revision, as in '1-4711'; not {text!r:.60}"
            )
        return cls(int(found[1]), int(found[2]))
