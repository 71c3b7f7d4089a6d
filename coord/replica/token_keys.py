"""The keys that this member signs tokens with: which one now, and what is still to be done. Plain state, no store.

A member has one key, or for a while two: the *present* one, and the *next* one, which takes its place a while after
it has come into the tree, so that whoever verifies has heard of it when it is first used.
"""

from typing import Protocol

from coord.replica.inputs import Signer
from coord.replica.reads import Waiting, split_expired

ASK_AGAIN_TICKS = 1_500
"""A new key that was asked of the shell, and has not come, is asked for again: its disk may have been full."""


class Published(Protocol):
    """Says whether the key of this name is in the tree."""

    def __call__(self, key: str) -> bool: ...


class TokenKeys:
    """A member's. Without a ``present`` key (a simulation) nothing is proposed, and nothing is signed."""

    __slots__ = ("_asked", "_asked_tick", "_next_since_ms", "next", "present", "proposed", "waiting")

    def __init__(self, present: Signer | None) -> None:
        self.present = present
        self.next: Signer | None = None
        self._next_since_ms = 0
        """By the monotonic clock: since when ``next`` is known to be in the tree; 0: it is not."""
        self._asked = -1
        """The generation that the shell was last asked for."""
        self._asked_tick = 0
        self.proposed = ""
        """The key that is on its way into the log."""
        self.waiting: list[Waiting] = []
        """Reads of clients that have to wait until there is a key in the tree."""

    @property
    def newest(self) -> Signer | None:
        return self.next or self.present

    def replace(self, signer: Signer) -> None:
        """The shell has made a key, and will find it in its folder when it starts again."""
        self.next, self._next_since_ms = signer, 0

    def turn(self, published: Published, now_ms: int, lead_ms: int) -> Signer | None:
        """The key to sign with now: one that is in the tree, or ``None``.

        Only such a one, whatever happened to it. 1. A key is revoked: gone from the tree. 2. Its member has not made a
        new one yet, and signs. 3. Nobody takes what it signed for genuine.
        """
        following, present = self.next, self.present
        if following is not None and published(following.key):
            self._next_since_ms = self._next_since_ms or now_ms
            if present is None or now_ms - self._next_since_ms >= lead_ms or not published(present.key):
                self.present, self.next = following, None
        return self.present if self.present is not None and published(self.present.key) else None

    def asks(self, generation: int, tick: int) -> bool:
        """Whether the shell is to be asked for a key of ``generation`` now."""
        if self._asked >= generation and tick - self._asked_tick < ASK_AGAIN_TICKS:
            return False
        self._asked, self._asked_tick = generation, tick
        return True

    def take_waiting(self) -> list[Waiting]:
        waiting, self.waiting = self.waiting, []
        return waiting

    def take_expired(self, before_ms: int) -> list[Waiting]:
        """Reads that have waited since before ``before_ms``."""
        expired: list[Waiting] = []
        self.waiting = split_expired(self.waiting, before_ms, expired)
        return expired
