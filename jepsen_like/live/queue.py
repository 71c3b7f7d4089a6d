"""Tasks of ``coord.recipes.queue`` by real workers, some of them processes that are paused and killed.

Tries to lose a task, or what comes after it; to end one twice; to have its effect twice, or without its end; to have
more of one key at a time than there may be; to have one begun before its turn, or never. The members suffer under the
nemeses, and the workers here: those in this process stop in the midst of their work and come back, those in processes
of their own stand still for longer than their session lives, and go on, or are killed. Who enqueues makes chains,
groups, unique and limited tasks, and cancels some.

What tasks were and how they ended is in the log, whoever asked; so nothing has to be recorded of the processes.
``workloads/tasks.py`` asks the same of the plans alone, in the simulator, too.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any, Final

import trio

from coord.api.events import CREATED
from coord.api.ops import List
from coord.api.results import Page
from coord.client import Client
from coord.jepsen_like.checkers.log import Log
from coord.jepsen_like.checkers.task_order import check_no_task_starves, check_task_order
from coord.jepsen_like.checkers.tasks import check_tasks
from coord.jepsen_like.checkers.violation import Violation
from coord.jepsen_like.history import Operation, Record
from coord.jepsen_like.live.process import ChildProcess
from coord.jepsen_like.live.queue_worker import APP, EFFECTS, PATHS, SESSION_TIMEOUT_S, in_thread, work
from coord.jepsen_like.workloads.workload import Check, Process
from coord.recipes.queue import Call, Concurrency, Queue, QueueFull, Task, Unique, chain, group
from coord.recipes.queue.enqueueing import NoFolders, make_folders
from coord.recipes.queue.layout import NO_NEEDS
from coord.recipes.queue.record import decode_ended
from coord.recipes.queue.worker import Worker

DRAINED: Final = "tasks end"
EFFECTS_ONCE: Final = "effects once"
READY: Final = PATHS.folder(NO_NEEDS)

CALLS_A_SECOND: Final = 15.0
"""Of each process that enqueues."""
TASKS_KEPT: Final = 20
"""Handles of the last ones: any of them may be cancelled."""
CONCURRENCY: Final = 5


def check_effects(records: Sequence[Record]) -> list[Violation]:
    """What a task does ``once`` is done in the revision in which it ends well, and nowhere else."""
    log = Log(records)
    found: list[Violation] = []
    for revision in sorted(log.whole):
        effects: list[str] = []
        succeeded: list[str] = []
        for kind, path, value, *_ in log.whole[revision]:
            above, _, name = path.rpartition("/")
            if kind == CREATED and above == EFFECTS:
                effects.append(name.rpartition("-")[0])
            elif kind == CREATED and above == PATHS.all_done and decode_ended(value or b"").succeeded:
                succeeded.append(name)
        if sorted(effects) != sorted(succeeded):
            what = f"in revision {revision} the tasks {succeeded} succeeded, and those with effects are {effects}"
            found.append(Violation(EFFECTS_ONCE, what, (log.places[revision],)))
    return found


def check_drained(records: Sequence[Record]) -> list[Violation]:
    """When workers had all the time they wanted, and no fault was under way, every task has ended."""
    last = [
        (place, each.result)
        for place, each in enumerate(records)
        if isinstance(each, Operation) and each.op == List(READY) and isinstance(each.result, Page)
    ]
    if not last:
        return []  # it never came to that, which is said elsewhere
    place, page = last[-1]
    left = [each.name for each in page.children]
    return [Violation(DRAINED, f"{len(left)} tasks never ended: {left[:5]}", (place,))] if left else []


class LiveQueue:
    name = "queue"
    checks: tuple[Check, ...] = (
        check_tasks, check_task_order, check_no_task_starves, check_effects, check_drained,
    )  # fmt: skip

    def __init__(self, dice: Random) -> None:
        self._width = dice.choice((1, 2, 4))
        self._keys = dice.choice((1, 3))
        self._work_ms = dice.choice((5, 50, 200))

    async def setup(self, client: Client, me: Process) -> None:
        # Tasks that fail are what is asked for here: nobody has to read of each.
        logging.getLogger("coord.worker").addHandler(logging.NullHandler())
        await client.create(EFFECTS, parents=True)
        await client.multi(then=make_folders(NoFolders(((PATHS, NO_NEEDS),))))

    async def process(self, client: Client, me: Process) -> None:
        roles: tuple[Callable[[Client, Process], Any], ...] = (self._enqueue, self._work, self._keep_process)
        await roles[(me.number - 1) % len(roles)](client, me)

    async def finish(self, client: Client, me: Process) -> None:
        await Worker(client, APP, concurrency=20).serve_until_drained()
        await client.list(READY)

    # --- one role each -----------------------------------------------------------------------------------------------

    async def _enqueue(self, client: Client, me: Process) -> None:
        queue, dice = Queue(client, APP), me.dice
        tasks: list[Task[Any]] = []
        while True:
            await trio.sleep(dice.expovariate(CALLS_A_SECOND))
            if tasks and dice.random() < 0.1:
                await dice.choice(tasks).cancel()
                continue
            try:
                found = await queue.enqueue(self._workflow(dice, tasks))
            except QueueFull:
                continue  # the members suffer, and the workers with them: that is backpressure
            tasks = [*tasks, *(found if not isinstance(found, Task) else [found])][-TASKS_KEPT:]

    def _workflow(self, dice: Random, earlier: Sequence[Task[Any]]) -> Any:
        pick = dice.random()
        call = self._call(dice)
        if pick < 0.15:
            unique = Unique(f"key {dice.randrange(self._keys)}", dice.choice(("ended", "begun")))
            return call.with_(unique=unique)
        if pick < 0.4:
            key = dice.randrange(self._keys)
            return call.with_(concurrency=Concurrency(f"lane {key}", self._width))
        if pick < 0.5:
            return call.with_(delay=dice.choice((0.1, 1.0)))
        if pick < 0.6:
            return call.with_(deadline=dice.choice((0.1, 2.0)))
        if pick < 0.7 and earlier:
            return call.with_(after=tuple(dice.sample(earlier, 1)), on="finish", keep=600)
        steps = [self._call(dice) for _ in range(dice.randint(2, 4))]
        return chain(*steps) if pick < 0.85 else group(steps).then(call.with_(on="finish"))

    def _call(self, dice: Random) -> Call[Any]:
        function = in_thread if dice.random() < 0.2 else work
        fails = dice.choice((0, 0, 0, 0, 1, 2, -1))
        call = function.call(round(self._work_ms * 2 * dice.random()), fails)
        return call.with_(priority=dice.choice((1, 5, 5))).ignoring_inputs()

    async def _work(self, client: Client, me: Process) -> None:
        """It stops now and then, in time or not; its session lives on."""
        while True:
            worker = Worker(client, APP, concurrency=CONCURRENCY, grace=me.dice.choice((0.0, 1.0)))
            async with worker:
                await trio.sleep(me.dice.uniform(1, 5))
                if me.dice.random() < 0.3:
                    worker.stop()
                    worker.stop()  # hands back at once

    async def _keep_process(self, client: Client, me: Process) -> None:
        """A process that works, stands still, goes on, dies, and is there again. Its own client does nothing."""
        log = Path(me.facts["out"]) / f"worker-{me.number}.log"
        program = ("coord.jepsen_like.live.queue_worker", me.facts["endpoints"])
        worker = ChildProcess(f"worker {me.number}", program, log)
        try:
            while True:
                worker.start()
                await trio.sleep(me.dice.uniform(2, 6))
                if me.dice.random() < 0.7:
                    worker.pause()
                    await trio.sleep(me.dice.uniform(0.2, 2.5) * SESSION_TIMEOUT_S)
                    worker.resume()
                else:
                    await worker.kill()
        finally:
            await worker.kill()
