"""A fencing token, as requests and resources carry it, and the error of one that comes too late.

>>> from coord.recipes.fencing import Token
>>> Token(1, 4711) < Token(1, 4712) < Token(2, 1)
True
>>> str(Token(1, 4711)), Token.parse("1-4711")
('1-4711', Token(incarnation=1, revision=4711))

The text is for people, headers and logs. As text it does not sort (``"1-9" > "1-10"``): compare tokens, or,
where a store can order nothing but text, use :meth:`Token.sortable`.
"""

from typing import Final, Protocol, Self

from coord.client import CoordError, InvalidRequest, Token
from coord.client import StaleToken as RefusedByFence

HEADER: Final = "Coord-Fencing-Token"
"""The HTTP header that a request presents its token in: ``Coord-Fencing-Token: 1-4711``."""

NAME_CHARACTERS_MAX: Final = 1_024


class Presentable(Protocol):
    """Whatever has the two numbers of a token: a grant's, as the service gave it, or a :class:`Token`."""

    @property
    def incarnation(self) -> int: ...

    @property
    def revision(self) -> int: ...


def checked(token: Presentable) -> Token:
    """``token`` as a :class:`Token`. Raises :class:`InvalidRequest` (refused)."""
    if isinstance(token, Token):
        return token
    try:
        return Token(token.incarnation, token.revision)
    except AttributeError:
        raise InvalidRequest(
            f"a token is a Token(incarnation, revision), or a grant's; not {token!r:.60}"
            " (Token.parse reads the text '1-4711')"
        ) from None


class StaleToken(RefusedByFence):
    """A later holder has been here: the resource has seen a greater token. Nothing was changed.

    The claim that the token came from is lost, whatever its holder believes. There is nothing to try again with
    it: stop, and claim anew. (A kind of :class:`coord.client.StaleToken`, with which fences in coord's own tree
    refuse: who catches that one catches both.)
    """

    def __init__(self, name: str, presented: Token, greatest: Token) -> None:
        super().__init__(
            f"stale fencing token {presented} for {name!r}:"
            f" {greatest} has been seen, so the claim was granted anew since",
            {"name": name, "presented": str(presented), "greatest": str(greatest)},
        )
        self.name = name
        self.presented = presented
        self.greatest = greatest

    def __reduce__(self) -> tuple[type[Self], tuple[str, Token, Token]]:
        return type(self), (self.name, self.presented, self.greatest)  # it crosses process pools


class NotGenuine(CoordError):
    """What was presented is no token that a cluster of coord has signed for this, or not any more. Nothing was done.

    What exactly is wrong: the kinds of it in :mod:`coord.recipes.fencing.signed`.
    """

    slug = "not_genuine"


def admit(name: str, presented: Token, greatest: Token | None) -> bool:
    """Whether ``presented`` is to be remembered, being greater than ``greatest``. Equal: the same holder,
    nothing to do.

    This is all that a guard decides; what makes it a guard is that nothing comes between this and its write.
    Raises :class:`StaleToken` (refused).
    """
    if greatest is not None and presented < greatest:
        raise StaleToken(name, presented, greatest)
    return greatest is None or greatest < presented


def check_name(name: str) -> str:
    """``name`` of a guarded thing, if it is fit to be one. Raises :class:`InvalidRequest` (refused)."""
    if not isinstance(name, str) or not 1 <= len(name) <= NAME_CHARACTERS_MAX or "\0" in name:
        raise InvalidRequest(
            f"a guarded thing's name is a text of 1 to {NAME_CHARACTERS_MAX} characters, none of them NUL;"
            f" not {name!r:.60}"
        )
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InvalidRequest(f"a guarded thing's name can be written as UTF-8, not so {name!r:.60}") from None
    return name
