"""What a worker asks for next. Pure: it is told of folders, answers and free slots, and says what to do.

A worker serves any number of folders (those of its queues whose needs it meets), and has so many slots. Of each folder
one request is out at most: claim up to n of what is free there, or, if there is nothing, stand in line for one. So
nobody polls, and who finds nothing need not ask once more for being told of what comes.

::

    READY ──ask──▶ ASKED ──found────────────────────────────▶ READY
                     └─nothing─▶ WAITING ──granted, or over──▶ READY
                                    └─withdraw─▶ RETURNING ──▶ READY     (when there is no free slot left)

*No more is asked for than there is room for*: what was asked and not answered counts as taken. Those that wait do not,
or an idle folder would cost a slot for ever; so several may be granted where one slot is left. What there is no room
for is handed back at once, and is the next one's, with its place in the order and without counting as an attempt.

*Folders take turns*: room is shared among those that may have something, beginning behind the one that was asked last.
So a queue with a hundred thousand tasks does not keep another waiting.
"""

from collections import deque
from enum import Enum, auto
from typing import Final, NamedTuple

BATCH_MAX: Final = 256
"""Tasks asked for at once, of one folder."""


class At(Enum):
    """Where a folder is."""

    READY = auto()
    """It may have something."""
    ASKED = auto()
    WAITING = auto()
    """It had nothing, and a claim stands in line there."""
    RETURNING = auto()
    """Its claim is being taken back; it may have been granted before that."""


class What(Enum):
    ASK = auto()
    WITHDRAW = auto()


class Action(NamedTuple):
    what: What
    folder: str
    number: int = 1
    """To ask for."""


class Pulling:
    """Invariant: ``0 <= sum of what is asked for <= free slots`` at the time of asking."""

    def __init__(self) -> None:
        self._at: dict[str, At] = {}
        self._asked: dict[str, int] = {}
        """Folder -> how many."""
        self._turns: deque[str] = deque()
        """All folders; the first is the next to be asked."""
        self._stopped = False

    @property
    def folders(self) -> list[str]:
        return sorted(self._at)

    @property
    def idle(self) -> bool:
        """Nothing is asked, and all that there is to do is to wait."""
        return all(at is At.WAITING for at in self._at.values())

    @property
    def quiet(self) -> bool:
        """No request is out: after :meth:`stop`, nothing comes any more."""
        return all(at is At.READY for at in self._at.values())

    # --- what happens ---

    def add(self, folder: str) -> None:
        """There is a folder; telling it twice is no harm."""
        if folder not in self._at:
            self._at[folder] = At.READY
            self._turns.append(folder)

    def remove(self, folder: str) -> None:
        """It is gone; a request that is out will be answered all the same, and is then of no folder."""
        if self._at.pop(folder, None) is not None:
            self._asked.pop(folder, None)
            self._turns.remove(folder)

    def waits(self, folder: str) -> None:
        """Nothing is free there: what was asked for has become a claim that stands in line."""
        self._asked.pop(folder, None)
        if self._at.get(folder) is At.ASKED:
            self._at[folder] = At.WAITING

    def answered(self, folder: str) -> None:
        """The request is over, whatever it has brought: look again."""
        self._asked.pop(folder, None)
        if folder in self._at:
            self._at[folder] = At.READY

    def stop(self) -> None:
        """Ask for nothing more, and take back what waits."""
        self._stopped = True

    # --- what to do ---

    def next(self, free: int) -> list[Action]:
        """With so many free slots. Each action counts as begun."""
        if free <= 0 or self._stopped:
            return [self._withdraw(folder) for folder, at in self._at.items() if at is At.WAITING]
        return self._ask(free - sum(self._asked.values()))

    def _ask(self, room: int) -> list[Action]:
        actions: list[Action] = []
        ready = [folder for folder in self._turns if self._at[folder] is At.READY]
        for place, folder in enumerate(ready):
            count = min(
                -(-room // (len(ready) - place)), BATCH_MAX
            )  # what is left, shared among what is left
            if count <= 0:
                break
            room -= count
            self._at[folder] = At.ASKED
            self._asked[folder] = count
            self._turns.remove(folder)
            self._turns.append(folder)
            actions.append(Action(What.ASK, folder, count))
        return actions

    def _withdraw(self, folder: str) -> Action:
        self._at[folder] = At.RETURNING
        return Action(What.WITHDRAW, folder)
