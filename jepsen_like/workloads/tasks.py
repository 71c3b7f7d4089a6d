"""Tasks, as ``coord.recipes.queue`` has them: by the recipe's own plans, which are pure.

Tries to lose a task, or what comes after it; to end one twice, or by a worker that is not its worker any more; to begin
one before those it comes after; to have two with one unique key. By workers that lose their session, move, stand still
or let go, and go on; by ends, retries, cancellations and new dependents that cross each other; by requests whose
outcome nobody knows. Judged by ``coord.jepsen_like.checkers.tasks``, by what the members say happened.
"""

from collections.abc import Generator
from dataclasses import replace
from random import Random
from typing import Any, Final

from coord.api.errors import CoordError
from coord.api.ops import ClaimFirst, Get, List, Multi, Release
from coord.api.results import ClaimedFirst, MultiResult, Page
from coord.jepsen_like.checkers.task_order import check_task_order
from coord.jepsen_like.checkers.tasks import ROOT, check_tasks
from coord.jepsen_like.workloads.parts import insist, think
from coord.jepsen_like.workloads.workload import Check, EndSession, MoveAway, Pause, Process, Script, Step
from coord.recipes.queue.app import App
from coord.recipes.queue.building import Parents, build, with_parents
from coord.recipes.queue.call import Workflow, chain, group
from coord.recipes.queue.ending import cancel, discard, end, retry
from coord.recipes.queue.enqueueing import NoFolders, enqueue, make_folders
from coord.recipes.queue.errors import BadRecord
from coord.recipes.queue.layout import task_id
from coord.recipes.queue.options import Unique
from coord.recipes.queue.plan import Plan
from coord.recipes.queue.record import (
    VERSION,
    Attempt,
    Dependent,
    Ended,
    Failure,
    Outcome,
    decode_ended,
    decode_task,
)
from coord.recipes.queue.running import Changed, Found, Running

APP: Final = App("sim", root=ROOT, max_length=200)
PATHS: Final = APP.layout.queue("default")
NEEDS: Final = "-"
READY: Final = PATHS.folder(NEEDS)
TURNS: Final = 4
"""So often an end is planned anew when the task has changed meanwhile."""
QUIET_MS: Final = 3_000


@APP.task
def job(value: Any = None) -> Any: ...


class Tasks:
    name = "tasks"
    checks: tuple[Check, ...] = (check_tasks, check_task_order)

    def __init__(self, dice: Random) -> None:
        self._work_ms = dice.choice((5, 50, 500))
        self._delay_s = dice.choice((0.02, 0.2, 1.0))
        self._rough = dice.choice((0.05, 0.2))
        self._enqueues = dice.choice((0.2, 0.4))
        self._keys = dice.choice((1, 3))

    def setup(self) -> Script:
        yield from insist(Multi((), tuple(make_folders(NoFolders(((PATHS, NEEDS),))))))

    def process(self, me: Process) -> Script:
        while True:
            pick = me.dice.random()
            if not me.has_session:
                yield List(READY, values=True)
            elif pick < self._enqueues:
                yield from self._enqueue(me)
            elif pick < self._enqueues + 0.1:
                yield from self._cancel(me)
            else:
                yield from self._work(me)
            yield think(me, self._work_ms)

    def finish(self, me: Process) -> Script:
        yield Pause(QUIET_MS)
        yield from insist(List(READY))

    # --- one thing each ----------------------------------------------------------------------------------------------

    def _enqueue(self, me: Process) -> Script:
        dice = me.dice
        pick = dice.random()
        call = job.call(me.fresh().decode()).ignoring_inputs()
        if pick < 0.25:
            call = call.with_(
                unique=Unique(f"key {dice.randrange(self._keys)}", dice.choice(("ended", "begun")))
            )
        elif pick < 0.4:
            call = call.with_(delay=self._delay_s)
        workflow: Workflow[Any] = call
        if pick > 0.7:
            steps = [call.with_(on=dice.choice(("success", "finish"))) for _ in range(dice.randint(2, 3))]
            workflow = chain(*steps) if pick < 0.85 else group(steps).then(call.with_(on="finish"))
        numbers = iter(range(1 << 20))
        built = build(
            APP, workflow, lambda priority: task_id(priority, 0, next(numbers), dice.randbytes(6)), 0
        )
        tasks = built.tasks
        if 0.55 < pick < 0.7:
            parents = yield from self._parents(me, tasks[0].id)
            if parents is not None:
                tasks = (with_parents(tasks[0], parents, 0),)
        yield from _ask(enqueue(tasks, APP.max_length))

    def _parents(self, me: Process, id: str) -> Generator[Step, Any, Parents | None]:
        """One that is there, to come after."""
        found = yield from _some_task(me)
        if found is None:
            return None
        dependent = Dependent("default", NEEDS, id, 0, 1, 0, "success")
        record = replace(found.record, then=(*found.record.then, dependent))
        return Parents(1, [replace(found, record=record)])

    def _cancel(self, me: Process) -> Script:
        found = yield from _some_task(me)
        if found is not None:
            plan = cancel if me.dice.random() < 0.5 else discard
            yield from _ask(plan(found, _ended(found, "cancelled")))

    def _work(self, me: Process) -> Script:
        dice = me.dice
        done = yield ClaimFirst(READY, dice.choice((1, 1, 3)), values=True, label=me.fresh())
        if not isinstance(done.result, ClaimedFirst):
            return
        token = done.result.token.revision
        for child in done.result.children:
            try:
                task = Running.taken(
                    PATHS, NEEDS, child.name, child.value or b"", child.number, token, child.lost
                )
            except BadRecord:
                yield Release(child.number)
                continue
            yield think(me, self._work_ms)
            if dice.random() < self._rough:
                # It goes on as if nothing had happened: the token is to keep it from doing harm.
                yield dice.choice((EndSession(), MoveAway(), Release(child.number)))
            yield from self._end(me, task)

    def _end(self, me: Process, task: Running) -> Script:
        outcome: Outcome = "succeeded"
        if task.record.after:
            page = yield List(PATHS.inputs(task.id), values=True)
            inputs = page.result.children if isinstance(page.result, Page) else ()
            if task.record.on == "success" and not all(
                decode_ended(each.value or b"").succeeded for each in inputs
            ):
                outcome = "skipped"
        pick = me.dice.random()
        for _ in range(TURNS):
            if outcome == "succeeded" and pick < 0.25:
                attempt = Attempt(task.attempt, 0, 1, str(me.number), Failure("OSError"))
                answer = yield from _ask(retry(task, attempt, round(self._delay_s * 1_000)))
            else:
                how: Outcome = "failed" if outcome == "succeeded" and pick < 0.4 else outcome
                answer = yield from _ask(end(task, _ended(task, how)))
            if not isinstance(answer, Changed):
                return
            task = task.changed(answer)


def _ask(plan: Plan[Any]) -> Generator[Step, Any, Any]:
    """What the plan makes of its answer; ``None``: it was refused, or nobody knows."""
    done = yield plan.multi()
    if not isinstance(done.result, MultiResult):
        return None
    try:
        return plan.read(done.result)
    except CoordError:
        return None


def _some_task(me: Process) -> Generator[Step, Any, Found | None]:
    page = yield List(READY)
    names = [each.name for each in page.result.children] if isinstance(page.result, Page) else []
    if not names:
        return None
    id = me.dice.choice(names)
    found = yield Get(PATHS.task(NEEDS, id))
    if found.outcome != "ok":
        return None
    return Found(PATHS, NEEDS, id, decode_task(found.result.value), found.result.stat.version)


def _ended(task: Found, outcome: Outcome) -> Ended:
    return Ended(VERSION, outcome, task.record.task, 0, 0, attempts=task.record.attempts + 1)
