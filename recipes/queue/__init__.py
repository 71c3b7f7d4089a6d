"""Tasks: functions that run on some worker, at least once, and end once.

*What it guarantees.* A task that was enqueued is run until it has ended: with a result, as a dead letter, cancelled or
expired; and it ends once. The end is one step with its result, with letting go those that come after it, and with what
the task itself does ``once`` in coord. An attempt whose worker died, was paused or cut off is made again elsewhere, and
its late end is refused. Keys (``unique``, ``same``), limits (``Concurrency``, ``Rate``) and schedules hold in the whole
cluster.

*What it does not.* A task may be run more than once, and two attempts may overlap for a moment: the one that is cut off
does not know yet. Order is by priority and then by age, as far as tasks are free to begin.

*What to do about that.* ``context().once(…)`` for effects in coord; ``context().token`` for resources that can refuse
an older one (:mod:`coord.recipes.fencing`); ``context().idempotency_key`` for others.

::

    from coord.recipes.queue import App, Queue

    app = App("shop")

    @app.task(queue="mail", time_limit=30)
    async def send(to: str, body: str = "") -> int:
        return len(body)

    queue = Queue(client, app)
    task = await queue.enqueue(send.call("a@b", body="hi"))
    print(await task.status())  # → waiting
    print(await task.cancel())  # → True
    print(await task.status())  # → cancelled
"""

from coord.recipes.queue.app import App, TaskFunction
from coord.recipes.queue.call import Call, Chain, Group, chain, group
from coord.recipes.queue.context import Context, context
from coord.recipes.queue.cron import cron, every
from coord.recipes.queue.errors import (
    Again,
    BadRecord,
    GiveUp,
    NotSucceeded,
    QueueClosed,
    QueueFull,
    TaskCancelled,
    TaskExpired,
    TaskFailed,
    TaskSkipped,
    TimeLimit,
    TooLarge,
    UnknownTask,
)
from coord.recipes.queue.options import Concurrency, Options, Rate, Unique
from coord.recipes.queue.queue import Queue
from coord.recipes.queue.reports import Reports
from coord.recipes.queue.retry import Backoff, Retry
from coord.recipes.queue.signature import BadArguments
from coord.recipes.queue.task import Status, Task, Tasks

__all__ = [
    "App",
    "Queue",
    "TaskFunction",
    "Task",
    "Tasks",
    "Reports",
    "Status",
    "Call",
    "Chain",
    "Group",
    "chain",
    "group",
    "Options",
    "Concurrency",
    "Rate",
    "Unique",
    "Retry",
    "Backoff",
    # schedules
    "cron",
    "every",
    # inside of a task
    "context",
    "Context",
    "Again",
    "GiveUp",
    "TimeLimit",
    # errors
    "BadArguments",
    "BadRecord",
    "NotSucceeded",
    "QueueClosed",
    "QueueFull",
    "TaskCancelled",
    "TaskExpired",
    "TaskFailed",
    "TaskSkipped",
    "TooLarge",
    "UnknownTask",
]
