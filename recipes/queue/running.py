"""Tasks, as those have them who do something about them. Pure."""

from dataclasses import dataclass, replace

from coord.recipes.queue.layout import QueuePaths
from coord.recipes.queue.record import TaskRecord, decode_task


@dataclass(frozen=True, slots=True)
class Found:
    """A task that was read, whoever has it."""

    paths: QueuePaths
    needs: str
    id: str
    record: TaskRecord
    version: int
    """The znode's when it was read."""

    @property
    def path(self) -> str:
        return self.paths.task(self.needs, self.id)


@dataclass(frozen=True, slots=True)
class Running(Found):
    """A task that a session holds the claim of."""

    claim: int
    """Its number."""
    token: int
    """The revision of its grant: what makes a completion this attempt's, and not an earlier one's that comes late."""
    lost: int = 0
    """How many claims of it ended by their session's death."""

    @classmethod
    def taken(
        cls, paths: QueuePaths, needs: str, id: str, value: bytes, claim: int, token: int, lost: int
    ) -> "Running":
        """From a grant and the value that came with it. A claim brings no version; the record says which one it was
        written as. Where somebody else has written it since, the first plan is answered with ``Changed``.

        Raises :class:`~coord.recipes.queue.errors.BadRecord` (refused).
        """
        record = decode_task(value)
        return cls(paths, needs, id, record, record.writes, claim, token, lost)

    @property
    def attempt(self) -> int:
        """Which one this is, from 1."""
        return self.record.attempts + self.lost + 1

    def changed(self, answer: "Changed") -> "Running":
        """As it is now: plan again with it."""
        return replace(self, record=decode_task(answer.value), version=answer.version)


@dataclass(frozen=True, slots=True)
class Done:
    """It happened."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Nothing happened: the claim is not this session's any more. Somebody else's attempt counts."""


@dataclass(frozen=True, slots=True)
class Changed:
    """Nothing happened: the record is another by now; somebody added a dependent, for instance. Plan again."""

    value: bytes
    version: int


@dataclass(frozen=True, slots=True)
class Asked:
    """It runs, and whoever runs it is told to stop."""


@dataclass(frozen=True, slots=True)
class Gone:
    """Nothing happened: there is no such task any more. It has ended, or never was."""
