"""What stands in the tree, as typed values and as bytes. Pure.

A task's value is two lines of JSON: the record, and the arguments. Who only steers needs the first; who runs the task
hands the second to its signature as it is. A result stands likewise: how it ended, and the value. Fields that have
their default are not written. What is read may be anybody's: it is checked whole, or :class:`BadRecord`.

Each begins with ``v``. A new field with a default is no new version; one that old code must not overlook is.
"""

from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import Field, NonNegativeInt, TypeAdapter, ValidationError

from coord.recipes.queue.errors import BadRecord

T = TypeVar("T")

VERSION: Final = 1

KEEP_MS: Final = 600_000
"""How long a result is kept, unless said otherwise."""
HISTORY_MAX: Final = 20
"""Attempts of one task that are remembered, the last ones."""
MESSAGE_MAX: Final = 1_000
TRACEBACK_MAX: Final = 8_000
"""Characters; the end of it, where the error is."""

Outcome = Literal["succeeded", "failed", "cancelled", "expired", "skipped"]
Passes = Literal["none", "one", "all"]
On = Literal["success", "finish"]

Raw = Annotated[bytes, Field(exclude=True)]
"""JSON that is handed on unread: the second line."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception, as far as it can be told elsewhere."""

    type: str
    message: str = ""
    traceback: str = ""

    @classmethod
    def of(cls, error: BaseException, traceback: str = "") -> "Failure":
        kind = type(error)
        name = (
            kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        )
        return cls(_text(name)[:200], _text(str(error))[:MESSAGE_MAX], _text(traceback)[-TRACEBACK_MAX:])


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt that ended without the task's end."""

    n: int
    """Which it was, from 1; numbers in between were lost with their workers."""
    at_ms: int
    """When it began, by the worker's wall clock; for people."""
    took_ms: int
    worker: str
    failure: Failure


@dataclass(frozen=True, slots=True)
class Dependent:
    """A task that comes after this one."""

    queue: str
    needs: str
    id: str
    n: NonNegativeInt
    """This one is its n-th, from 0."""
    of: Annotated[int, Field(ge=1)]
    """So many it comes after."""
    delay_ms: NonNegativeInt = 0
    """How long it waits once they are done."""
    on: On = "success"
    """``success``: it is skipped, at once, when this one ends otherwise; ``finish``: it is run in any case."""


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """A task. Its queue, needs and id are its path."""

    v: int
    task: str
    """Which function, by its name in the app."""
    at_ms: int
    """When it was enqueued, by the wall clock of who did; for people."""
    writes: NonNegativeInt = 0
    """How often it was written since its create: the znode's version, so that who claims it knows that, too."""
    attempts: NonNegativeInt = 0
    """Those that ended and were reported. Lost ones are counted by the service."""
    keep_ms: NonNegativeInt = KEEP_MS
    unique: str = ""
    """A key that this task has until it ends; "": none."""
    lanes: tuple[tuple[str, int, int, int], ...] = ()
    """``(name, width, interval_ms, burst)``, as its znode has them; here for the dead letter."""
    begin_by: bool = False
    """It is to begin only while its ``begin_by`` znode is there."""
    after: NonNegativeInt = 0
    """How many tasks it comes after: so many inputs it has when it runs."""
    on: On = "success"
    """As :attr:`Dependent.on`."""
    passes: Passes = "none"
    """Whether the first argument is the (``one``) result of what it comes after, or the list of them (``all``)."""
    then: tuple[Dependent, ...] = ()
    time_limit_ms: int | None = None
    """``None``: as its function has it."""
    times: int | None = None
    """Of its ``Retry``, likewise."""
    history: tuple[Attempt, ...] = ()
    headers: dict[str, str] = field(default_factory=dict)
    """For those who hook in: ids of traces, and the like."""
    arguments: Raw = b"{}"

    @property
    def workers(self) -> frozenset[str]:
        """On which it has failed."""
        return frozenset([each.worker for each in self.history])

    def with_attempt(self, attempt: Attempt) -> "TaskRecord":
        """After an attempt that ended. Of earlier ones the traceback is dropped: the last one is what counts."""
        before = [
            replace(each, failure=replace(each.failure, traceback="")) if each.failure.traceback else each
            for each in self.history[-(HISTORY_MAX - 1) :]
        ]
        return replace(self, attempts=self.attempts + 1, history=(*before, attempt))


@dataclass(frozen=True, slots=True)
class Ended:
    """How a task ended."""

    v: int
    outcome: Outcome
    task: str
    at_ms: int
    """When it was enqueued; wall clock, for people, as the next."""
    ended_ms: int
    took_ms: int = 0
    """The last attempt."""
    attempts: int = 0
    """How many began."""
    worker: str = ""
    failure: Failure | None = None
    why: str = ""
    value: Raw = b"null"

    @property
    def succeeded(self) -> bool:
        return self.outcome == "succeeded"

    @property
    def details(self) -> dict[str, Any]:
        """What an error says of it."""
        found: dict[str, Any] = {"outcome": self.outcome, "task": self.task, "attempts": self.attempts}
        if self.failure is not None:
            found["type"] = self.failure.type
            found["message"] = f"{self.failure.type}: {self.failure.message}"
            found["traceback"] = self.failure.traceback
        elif self.why:
            found["message"] = self.why
        return found


@dataclass(frozen=True, slots=True)
class Dead:
    """A dead letter: all that is needed to enqueue it again."""

    needs: str
    ended: Ended
    record: TaskRecord


_TASK: Final = TypeAdapter(TaskRecord)
_ENDED: Final = TypeAdapter(Ended)
_NEEDS: Final = TypeAdapter(dict[Literal["needs"], str])


def encode_task(record: TaskRecord) -> bytes:
    return _TASK.dump_json(record, exclude_defaults=True) + b"\n" + record.arguments


def decode_task(value: bytes) -> TaskRecord:
    """Raises :class:`BadRecord` (refused)."""
    head, _, arguments = value.partition(b"\n")
    record = _checked(_TASK, head, "a task")
    if arguments:
        # It was made right here, and nobody has it yet. `replace` takes 15 µs, of each task.
        object.__setattr__(record, "arguments", arguments)
    return record


def encode_ended(ended: Ended) -> bytes:
    return _ENDED.dump_json(ended, exclude_defaults=True) + b"\n" + ended.value


def decode_ended(value: bytes) -> Ended:
    """Raises :class:`BadRecord` (refused)."""
    head, _, rest = value.partition(b"\n")
    ended = _checked(_ENDED, head, "a task's end")
    return replace(ended, value=rest) if rest else ended


def encode_dead(dead: Dead) -> bytes:
    return b"\n".join(
        (
            _NEEDS.dump_json({"needs": dead.needs}),
            _ENDED.dump_json(dead.ended, exclude_defaults=True),
            encode_task(dead.record),
        )
    )


def decode_dead(value: bytes) -> Dead:
    """Raises :class:`BadRecord` (refused)."""
    head, _, rest = value.partition(b"\n")
    ended, _, record = rest.partition(b"\n")
    needs = _checked(_NEEDS, head, "a dead letter").get("needs")
    if needs is None:
        raise BadRecord("what stands here is no dead letter: it does not say what the task needs")
    return Dead(needs, _checked(_ENDED, ended, "a dead letter"), decode_task(record))


def _checked(adapter: TypeAdapter[T], data: bytes, what: str) -> T:
    try:
        found = adapter.validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise BadRecord(f"what stands here is not {what}: {where}: {first['msg']}") from None
    version = getattr(found, "v", VERSION)
    if version != VERSION:
        raise BadRecord(f"what stands here is {what} of version {version}; this program knows {VERSION}")
    return found


def _text(text: str) -> str:
    """What JSON and UTF-8 can hold."""
    return text.encode(errors="replace").decode()
