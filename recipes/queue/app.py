"""An app: the functions that are tasks, by name, and where they stand in the tree. It needs no client.

::

    from coord.recipes.queue import App, Retry

    app = App("shop")

    @app.task(queue="mail", retry=Retry(times=5, on=(OSError,)), time_limit=30)
    async def send(to: str, body: str = "") -> int: ...

    print(app.tasks["send"].options.queue)  # → mail
"""

import inspect
from collections.abc import Callable, Coroutine
from functools import update_wrapper
from typing import Any, Concatenate, Final, Generic, ParamSpec, TypeVar, cast, overload

from coord.client import InvalidRequest
from coord.recipes.arguments import checked_int, checked_name
from coord.recipes.queue.call import Call, Workflow
from coord.recipes.queue.cron import When
from coord.recipes.queue.layout import Layout
from coord.recipes.queue.options import Options
from coord.recipes.queue.schedule import Schedule, schedule
from coord.recipes.queue.signature import BYTES_MAX, Signature
from coord.recipes.queue.ticking import Missed

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")

MAX_LENGTH: Final = 1_000_000


class TaskFunction(Generic[P, R]):
    """A function that is a task. Called, it runs here and now, as it is; :meth:`call` is for a queue."""

    def __init__(self, name: str, function: Callable[P, R], options: Options, bytes_max: int) -> None:
        self.name = name
        self.function = function
        self.options = options
        self.is_async = inspect.iscoroutinefunction(function)
        self.signature = Signature(name, function, bytes_max)
        update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    # What a coroutine function returns is not what its task does; and a call may lack its first argument, which is the
    # result of another task then.
    @overload
    def call(
        self: "TaskFunction[P, Coroutine[Any, Any, S]]", *args: P.args, **kwargs: P.kwargs
    ) -> Call[S]: ...
    @overload
    def call(
        self: "TaskFunction[Concatenate[Any, Q], Coroutine[Any, Any, S]]", *args: Q.args, **kwargs: Q.kwargs
    ) -> Call[S]: ...
    @overload
    def call(self, *args: P.args, **kwargs: P.kwargs) -> Call[R]: ...
    @overload
    def call(self: "TaskFunction[Concatenate[Any, Q], S]", *args: Q.args, **kwargs: Q.kwargs) -> Call[S]: ...
    def call(self, *args: Any, **kwargs: Any) -> Call[Any]:
        """A call that is not made yet; without the first argument where that is the result of another task."""
        return Call(cast("TaskFunction[..., Any]", self), args, kwargs, self.options)

    def __repr__(self) -> str:
        return f"<task {self.name}>"


class App:
    """``App("shop")``: its tasks stand below ``root``, which is ``/tasks/shop``.

    ``max_length``: tasks of one queue (of each set of needs) that wait and run; beyond,
    :class:`~coord.recipes.queue.errors.QueueFull`. ``bytes_max``: of one task's arguments, and of one result. Other
    keywords are options that all its tasks have unless they say otherwise.
    """

    def __init__(
        self,
        name: str,
        *,
        root: str | None = None,
        max_length: int = MAX_LENGTH,
        bytes_max: int = BYTES_MAX,
        **options: Any,
    ) -> None:
        self.name = checked_name(name, "an app's name")
        self.layout = Layout(f"/tasks/{name}" if root is None else root)
        self.max_length = checked_int(max_length, 1, "max_length")
        self.bytes_max = checked_int(bytes_max, 100, "bytes_max")
        self._options = Options().with_(options)
        self.tasks: dict[str, TaskFunction[..., Any]] = {}
        self.around: list[Callable[[Any], Any]] = []
        """Entered around each attempt by every worker: functions of its Context that return async context managers."""
        self.schedules: dict[str, Schedule] = {}

    @overload
    def task(self, function: Callable[P, R], /) -> TaskFunction[P, R]: ...
    @overload
    def task(
        self, /, *, name: str | None = None, **options: Any
    ) -> Callable[[Callable[P, R]], TaskFunction[P, R]]: ...
    def task(self, function: Any = None, /, *, name: str | None = None, **options: Any) -> Any:
        """Make a function a task: ``@app.task``, or ``@app.task(queue="mail", …)`` with
        :class:`~coord.recipes.queue.options.Options`. ``name``: that of the function, unless said otherwise.
        """
        chosen = self._options.with_(options)
        if chosen.after or chosen.same is not None:
            raise InvalidRequest("'after' and 'same' are said of one call, not of a function")

        def made(each: Callable[P, R]) -> TaskFunction[P, R]:
            if not callable(each):
                raise InvalidRequest(f"a task is a function, not {each!r:.60}")
            known = getattr(each, "__name__", "") if name is None else name
            checked_name(known, "a task's name")
            if known in self.tasks:
                raise InvalidRequest(
                    f"the app {self.name} has a task {known!r:.80} already: say @app.task(name=…) of one of them"
                )
            if inspect.iscoroutinefunction(each) and chosen.where != "here":
                raise InvalidRequest(
                    f"{known} is async, and so runs on the event loop; where={chosen.where!r} is for plain functions"
                )
            if inspect.isgeneratorfunction(each) or inspect.isasyncgenfunction(each):
                raise InvalidRequest(f"{known} is a generator; a task returns its result")
            task = TaskFunction(known, each, chosen, self.bytes_max)
            self.tasks[known] = cast("TaskFunction[..., Any]", task)
            return task

        return made if function is None else made(function)

    def schedule(
        self, name: str, when: When, workflow: Workflow[Any], *, missed: Missed = "skip", late: float = 60.0
    ) -> None:
        """Have ``workflow`` enqueued whenever it is due, once in the cluster, by whichever worker is there:
        ``app.schedule("nightly", cron("0 3 * * *", tz="Europe/Berlin"), report.call())``

        A tick that could not be enqueued within ``late`` seconds was missed. ``missed``: what is made up for then:
        ``"skip"`` nothing, ``"once"`` one for all, ``"all"`` each (the last 100). The whole story:
        :mod:`coord.recipes.queue.schedules`.
        """
        if name in self.schedules:
            raise InvalidRequest(f"the app {self.name} has a schedule {name!r:.80} already")
        self.schedules[name] = schedule(self, name, when, workflow, missed, late)

    def __repr__(self) -> str:
        return f"<app {self.name}: {len(self.tasks)} tasks below {self.layout.root}>"
