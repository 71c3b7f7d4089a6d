"""What is known of queues, tasks and schedules, for people: see :mod:`coord.recipes.queue.inspecting`. Pure."""

from dataclasses import dataclass, field
from typing import Any

from coord.client import ClaimFacts, InvalidRequest
from coord.recipes.queue.cron import when_from_json
from coord.recipes.queue.errors import BadRecord
from coord.recipes.queue.layout import QueuePaths
from coord.recipes.queue.record import Ended, TaskRecord, decode_ended
from coord.recipes.queue.running import Found
from coord.recipes.queue.task import Status
from coord.recipes.queue.ticking import State, decode_state


@dataclass(frozen=True, slots=True)
class QueueFacts:
    """One queue, at a moment."""

    name: str
    waiting: int
    """Could begin now, if a worker were free."""
    delayed: int
    """Begin later: by their delay, after a failed attempt, or after others. All that wait, where it is paused."""
    blocked: int
    """Wait for their concurrency key or rate."""
    running: int
    done: int
    """Results that are kept."""
    dead: int
    enqueued: int
    """Since the queue was made."""
    ended: int
    oldest_ms: int | None
    """When the oldest task was enqueued that has not ended (or the oldest of its priority: of each the first is looked
    at); the leader's wall clock. ``None``: there is none."""
    paused: bool
    closed: bool
    folders: tuple[str, ...]
    """The sets of needs that it has had tasks of."""


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """One task, as far as it is known."""

    queue: str
    needs: str
    id: str
    status: Status
    record: TaskRecord | None
    """Of one that has not ended, and of a dead letter."""
    version: int = 0
    """Its znode's."""
    ended: Ended | None = None
    lost: int = 0
    """So many of its attempts were lost with their workers."""
    worker: str = ""
    """Of one that runs: what its session's client calls itself."""
    since_ms: int | None = None
    """Of one that runs: since when; the leader's wall clock."""
    begins_in_ms: int | None = None
    """Of a delayed one."""
    blocked_by: tuple[str, ...] = ()
    """The keys of concurrency and rate that it has."""
    cancel_asked: bool = False
    progress: bytes | None = None

    @property
    def reference(self) -> str:
        return f"{self.queue}/{self.needs}/{self.id}"

    @property
    def task(self) -> str:
        """Its function's name."""
        return self.record.task if self.record else self.ended.task if self.ended else ""


@dataclass(frozen=True, slots=True)
class ScheduleFacts:
    name: str
    state: State | None
    """``None``: what stands there is no schedule."""
    due_ms: int | None
    """The next tick; ``None``: there is none, or it is paused."""
    modified_ms: int
    trouble: str = field(default="")


def facts_of(task: Found, facts: ClaimFacts, **more: Any) -> TaskFacts:
    if facts.holders:
        status = Status.RUNNING
    elif facts.held_back:
        status = Status.AWAITING if facts.held_back_ms is None else Status.DELAYED
    else:
        status = Status.WAITING
    return TaskFacts(
        task.paths.name,
        task.needs,
        task.id,
        status,
        task.record,
        task.version,
        lost=facts.lost,
        begins_in_ms=facts.held_back_ms if status is Status.DELAYED else None,
        blocked_by=tuple([lane.name for lane in facts.lanes]),
        **more,
    )


def ended_facts(paths: QueuePaths, id: str, value: bytes) -> TaskFacts | None:
    try:
        ended = decode_ended(value)
    except BadRecord:
        return None
    return TaskFacts(paths.name, "", id, Status(ended.outcome), None, ended=ended)


def schedule_facts(name: str, value: bytes, modified_ms: int) -> ScheduleFacts:
    try:
        state = decode_state(value)
        due_ms = None
        if not state.paused and state.last_ms is not None:
            due_ms = when_from_json(state.when).following(state.last_ms)
    except (BadRecord, InvalidRequest) as error:
        return ScheduleFacts(name, None, None, modified_ms, error.message)
    return ScheduleFacts(name, state, due_ms, modified_ms, state.trouble)
