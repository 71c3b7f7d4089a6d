"""Tasks, enqueued and awaited: :mod:`coord.recipes.queue`, for plain threads.

*What it guarantees, what it does not, what to do about that*: as there. Any number of threads may share a queue, and a
task. What is written down of tasks (``App``, ``Retry``, ``chain`` and so on) is the same for both, and comes from
there; so do workers, which run plain functions in threads.

::

    from coord.client.blocking import connect
    from coord.recipes.blocking.queue import Queue
    from coord.recipes.queue import App

    app = App("shop")

    @app.task
    def square(number: int) -> int:
        return number * number

    with connect() as client:
        queue = Queue(client, app)
        task = queue.enqueue(square.call(3))
        print(task.status())  # → waiting
        print(task.cancel(), task.status())  # → True cancelled
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from math import inf
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, overload

from coord.client.blocking import Client
from coord.recipes.blocking.bridge import Bridge, Inside
from coord.recipes.queue.app import App
from coord.recipes.queue.call import Call, Group, Workflow
from coord.recipes.queue.queue import Queue as AsyncQueue
from coord.recipes.queue.record import Ended, TaskRecord
from coord.recipes.queue.reports import Reports as AsyncReports
from coord.recipes.queue.task import Status
from coord.recipes.queue.task import Task as AsyncTask
from coord.recipes.queue.task import Tasks as AsyncTasks

__all__ = ["Queue", "Reports", "Status", "Task", "Tasks"]

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Reports:
    """What :meth:`Task.progress` returns: the last report at once, and then each further one, until the task has ended.

    Where the loop may be left before that, enter it: ``with task.progress() as reports:``.
    """

    def __init__(self, bridge: Bridge, reports: AsyncReports) -> None:
        self._bridge = bridge
        self._reports = reports
        self._inside: Inside[AsyncReports] = Inside(bridge, lambda: reports, "a task's reports")

    def __enter__(self) -> Self:
        self._inside.enter(None)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._inside.leave(exc_type, exc, traceback)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        try:
            return self._bridge.run(self._reports.__anext__, inf)
        except StopAsyncIteration:
            raise StopIteration from None


class Task(Generic[R_co]):
    """What :meth:`Queue.enqueue` returns. It costs nothing to keep, or to forget."""

    def __init__(self, bridge: Bridge, task: AsyncTask[R_co]) -> None:
        self._bridge = bridge
        self._task = task
        self.id = task.id
        self.name = task.name
        """Of its function, where that is known."""
        self.needs = task.needs
        self.paths = task.paths
        self.new = task.new
        """It was enqueued by this very call; else another task had its key, and this is that one."""

    @property
    def queue(self) -> str:
        return self._task.queue

    @property
    def path(self) -> str:
        """Where it stands in the tree until it has ended."""
        return self._task.path

    @property
    def reference(self) -> str:
        """For others, who find it by ``queue.task(reference)``; text without spaces."""
        return self._task.reference

    def __repr__(self) -> str:
        return repr(self._task)

    def result(self, *, deadline: float | None = None) -> R_co:
        """What the function returned, once it has; of the type that it declares. Raises as
        :meth:`coord.recipes.queue.Task.result`.
        """
        return self._bridge.run(partial(self._task.result, deadline=deadline), deadline)

    def wait(self, *, deadline: float | None = None) -> Ended:
        """How it ended, once it has, whether well or not. Raises as :meth:`result`, but for its end."""
        return self._bridge.run(partial(self._task.wait, deadline=deadline), deadline)

    def ended(self, *, deadline: float | None = None) -> Ended:
        """How it ended, if it has; without waiting. Raises
        :class:`~coord.recipes.queue.errors.UnknownTask` (refused) where nothing is known of that.
        """
        return self._bridge.run(partial(self._task.ended, deadline=deadline), deadline)

    def status(self, *, deadline: float | None = None) -> Status:
        """What it is just now."""
        return self._bridge.run(partial(self._task.status, deadline=deadline), deadline)

    def record(self, *, deadline: float | None = None) -> TaskRecord | None:
        """What is written down of it, with the attempts that have failed; ``None``: it has ended."""
        return self._bridge.run(partial(self._task.record, deadline=deadline), deadline)

    def progress(self, *, deadline: float | None = None) -> Reports:
        """What it reports (``context().progress(…)``): ``for report in task.progress(): …``, until it has ended."""
        return Reports(self._bridge, self._bridge.look(partial(self._task.progress, deadline=deadline)))

    def cancel(self, *, deadline: float | None = None) -> bool:
        """End it, if it waits; if it runs, have its worker end it (a thread ends where it next asks for its
        ``context()``). False: it has ended already. Those that come after it are skipped.
        """
        return self._bridge.run(partial(self._task.cancel, deadline=deadline), deadline)

    def expire(self, *, deadline: float | None = None) -> bool:
        """End it, if it waits past its deadline. Whoever would run it does this, too; False: it does not."""
        return self._bridge.run(partial(self._task.expire, deadline=deadline), deadline)


class Tasks(Generic[R_co]):
    """The tasks of a group, in its order. What :meth:`Queue.enqueue` returns for one."""

    def __init__(self, bridge: Bridge, tasks: AsyncTasks[R_co]) -> None:
        self._bridge = bridge
        self._tasks = tasks
        self.members: Sequence[Task[R_co]] = tuple([Task(bridge, each) for each in tasks])

    def __iter__(self) -> Iterator[Task[R_co]]:
        return iter(self.members)

    def __len__(self) -> int:
        return len(self.members)

    def __repr__(self) -> str:
        return repr(self._tasks)

    def result(self, *, deadline: float | None = None) -> list[R_co]:
        """The results of all. Raises what :meth:`Task.result` raises of the first of them that has none."""
        return self._bridge.run(partial(self._tasks.result, deadline=deadline), deadline)

    def cancel(self, *, deadline: float | None = None) -> int:
        """Cancel all; returns how many had not ended."""
        return self._bridge.run(partial(self._tasks.cancel, deadline=deadline), deadline)


class Queue:
    """``Queue(client, app)``: for all queues of an app. It costs nothing; share one, or make one each time."""

    def __init__(self, client: Client, app: App) -> None:
        self._bridge = Bridge(client)
        self._queue = AsyncQueue(self._bridge.client, app)
        self.app = app

    @overload
    def enqueue(  # type: ignore[overload-overlap]  # a group's result is a list, and its handle no Task
        self, workflow: Group[R], *, deadline: float | None = None
    ) -> Tasks[R]: ...
    @overload
    def enqueue(self, workflow: Workflow[R], *, deadline: float | None = None) -> Task[R]: ...
    def enqueue(self, workflow: Workflow[Any], *, deadline: float | None = None) -> Any:
        """Enqueue a call, a chain or a group, whole or not at all: one request, and one revision.

        Returns and raises as :meth:`coord.recipes.queue.Queue.enqueue`.
        """
        workflow = _inner(workflow)
        found = self._bridge.run(partial(self._queue.enqueue, workflow, deadline=deadline), deadline)
        return Tasks(self._bridge, found) if isinstance(found, AsyncTasks) else Task(self._bridge, found)

    def enqueue_many(self, calls: Iterable[Call[R]], *, deadline: float | None = None) -> list[Task[R]]:
        """Enqueue many calls that have nothing to do with each other: some hundreds by each request, in their order.

        Raises as :meth:`coord.recipes.queue.Queue.enqueue_many`.
        """
        work = partial(self._queue.enqueue_many, [_inner(each) for each in calls], deadline=deadline)
        return [Task(self._bridge, each) for each in self._bridge.run(work, deadline)]

    def task(self, reference: str) -> Task[Any]:
        """The handle of a task that somebody else has enqueued, by its ``task.reference``. Nothing is asked."""
        return Task(self._bridge, self._queue.task(reference))


def _inner(workflow: Any) -> Any:
    """With the async handles of the tasks that it comes after, which a thread knows by its own."""
    if not isinstance(workflow, Call):
        return workflow
    after: Sequence[Any] = workflow.options.after
    if not any(isinstance(each, Task) for each in after):
        return workflow
    return workflow.with_(after=[each._task if isinstance(each, Task) else each for each in after])
