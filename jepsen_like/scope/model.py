"""The seam between what is explored and what explores: actions, effects, broken promises.

A *system* is members and a network. A member is the real code with its disk; one action at one member makes it another,
and has effects. The explorer (explorer.py) knows nothing else of Raft or replicas.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar


class Broken(AssertionError):
    """A promise was broken: a bug in what is explored, and the end of the exploration."""

    def __init__(self, promise: str, what: str) -> None:
        super().__init__(f"{promise}: {what}")
        self.promise = promise
        self.what = what


class Action(NamedTuple):
    """Something that happens at one member; the delivery of a message is ``deliver``, ``(sender, message)``."""

    kind: str
    detail: Any = None


class Effects(NamedTuple):
    """What an action did beside changing its member.

    ``messages``: ``(to, message)``. ``events``: what the judges want to know, plain tuples that begin with their kind.
    """

    messages: tuple[tuple[int, Any], ...]
    events: tuple[tuple[Any, ...], ...]


NO_EFFECTS = Effects((), ())

Bounds = tuple[int, ...]
"""What may still happen: one count for each kind of action that is bounded, or any other small whole numbers."""

M = TypeVar("M")


class System(Protocol[M]):
    """What the explorer is told to explore. Members are numbered from 1; ``M`` is one member with its disk.

    All that decides what comes next is in the members, the messages and the bounds; ``memory`` is the judges' only.
    """

    def begin(self) -> tuple[list[M], list[tuple[int, int, Any]], Any, Bounds]:
        """The first state: members, messages ``(sender, to, message)``, the judges' memory, bounds."""

    def choices(self, number: int, member: M, bounds: Bounds) -> Iterable[tuple[Action, Bounds]]:
        """What may happen at ``member`` beside deliveries, each with the bounds that are left after it."""

    def hears(self, number: int, bounds: Bounds) -> Any:
        """What a delivery carries beside the message (the time, say); None where that is nothing."""

    def act(self, member: M, action: Action) -> Effects:
        """Do it, to this very object. Raises Broken when the member alone breaks a promise."""

    def within(self, member: M) -> bool:
        """Whether this member is still inside the bounds; what is not is not explored further."""

    def allows(self, bounds: Bounds, other: Bounds) -> bool:
        """Whether every action that ``other`` leaves possible is possible, and means the same, under ``bounds``."""

    def progress(self, member: M) -> int:
        """About how far a member is, for the order of exploration: greater after than before most actions."""

    def used(self, bounds: Bounds) -> int:
        """The same of what the bounds have allowed so far."""

    def judge(
        self, memory: Any, members: Sequence[M], number: int, before: M, events: Sequence[tuple[Any, ...]]
    ) -> Any:
        """Look at what happened at member ``number`` (``before``, and now in ``members``); the memory after it.

        Called only when there were events. Raises Broken.
        """

    def describe(self, action: Action) -> str:
        """An action in words."""

    def picture(self, member: M) -> str:
        """A member in a line."""
