"""What goes wrong with tasks: for who enqueues, for who awaits; and what a task raises to say what it wants."""

from typing import Any

from coord.client import CoordError, InvalidRequest


class QueueFull(CoordError):
    """As many tasks wait and run as ``max_length`` allows; ``details`` has it. Nothing was enqueued: later, slower."""

    slug = "queue_full"


class QueueClosed(CoordError):
    """The queue is being drained: nothing is enqueued any more."""

    slug = "queue_closed"


class TooLarge(InvalidRequest):
    """Arguments, or a result, of more bytes than a task may have: store them elsewhere, and pass where they are."""

    slug = "too_large"


class BadRecord(CoordError):
    """What stands in the tree is no task, or one of a newer version."""

    slug = "bad_record"


class UnknownTask(CoordError):
    """Neither the task nor its end is there: it was never enqueued, or ended so long ago that it is forgotten."""

    slug = "unknown_task"


class NotSucceeded(CoordError):
    """A task has ended without a result. The operation that tells so did happen: it is the task's end, and final."""

    slug = "not_succeeded"


class TaskFailed(NotSucceeded):
    """It raised, and is not tried again: it is among the dead letters. ``details`` has ``type``, ``message`` and the
    ``traceback`` of where it ran.
    """

    slug = "task_failed"


class TaskCancelled(NotSucceeded):
    """Somebody cancelled it."""

    slug = "task_cancelled"


class TaskExpired(NotSucceeded):
    """It had not begun by its deadline."""

    slug = "task_expired"


class TaskSkipped(NotSucceeded):
    """It was not run, as what it comes after did not succeed."""

    slug = "task_skipped"


# --- what a task raises ----------------------------------------------------------------------------------------------


class Again(Exception):
    """``raise Again(in_s=30)`` (or ``Retry.again(30)``): run the task again, after that time; it counts as an attempt
    like any other.
    """

    def __init__(self, in_s: float | None = None, why: str = "") -> None:
        super().__init__(why or "the task wants to be run again")
        self.in_s = in_s
        """``None``: as its :class:`~coord.recipes.queue.retry.Retry` says."""


class GiveUp(Exception):
    """``raise GiveUp("there is no such user")``: the task has failed, and is not to be tried again."""


class TimeLimit(Exception):
    """The task has run for longer than its ``time_limit``."""


def not_succeeded(outcome: str, what: str, details: dict[str, Any]) -> NotSucceeded:
    """The error for a task that ended in this way. ``what``: its name and id."""
    error, says = _ENDS.get(outcome, (NotSucceeded, f"ended as {outcome!r:.40}"))
    message = details.get("message")
    return error(f"{what} {says}{f': {message}' if message else ''}", details)


_ENDS: dict[str, tuple[type[NotSucceeded], str]] = {
    "failed": (TaskFailed, "failed"),
    "cancelled": (TaskCancelled, "was cancelled"),
    "expired": (TaskExpired, "had not begun by its deadline"),
    "skipped": (TaskSkipped, "was not run, as what it comes after did not succeed"),
}
