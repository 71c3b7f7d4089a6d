"""A schedule, as the code has it: what, and when. Pure. Made by ``app.schedule``."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from coord.client import InvalidRequest
from coord.recipes.arguments import checked_name
from coord.recipes.queue.building import build
from coord.recipes.queue.call import Workflow
from coord.recipes.queue.cron import When
from coord.recipes.queue.layout import task_id
from coord.recipes.queue.options import seconds_of
from coord.recipes.queue.record import encode_task
from coord.recipes.queue.ticking import Definition, Missed

if TYPE_CHECKING:
    from coord.recipes.queue.app import App


@dataclass(frozen=True, slots=True, eq=False)
class Schedule:
    """``definition`` is what is compared with the tree, ``workflow`` what is enqueued at each tick."""

    definition: Definition
    workflow: Workflow[Any]

    @property
    def name(self) -> str:
        return self.definition.name


def schedule(
    app: "App", name: str, when: When, workflow: Workflow[Any], missed: Missed, late: float
) -> Schedule:
    """Checked. What cannot be enqueued is an error now, and not at three in the morning."""
    checked_name(name, "a schedule's name")
    if not isinstance(when, When):
        raise InvalidRequest(f"a schedule is due by cron('0 3 * * *') or every(300), not by {when!r:.60}")
    if missed not in get_args(Missed):
        raise InvalidRequest(f"missed is one of {', '.join(get_args(Missed))}; not {missed!r:.40}")
    numbers = iter(range(1 << 20))
    built = build(app, workflow, lambda priority: task_id(priority, 0, next(numbers), bytes(6)), 0)
    for call in built.calls:
        if call.options.same is not None or call.options.after:
            raise InvalidRequest(
                f"the call of the schedule {name!r:.80} has 'same' or 'after': these say something of one task, and "
                "each tick is another. To have no two of them at a time, say unique=…"
            )
    # Byte for byte the same in each process that has the same code: no sets, no addresses of objects.
    what = [
        (new.paths.name, new.needs, new.id, encode_task(new.record), new.hold_ms, new.begin_by_ms, new.unique)
        for new in built.tasks
    ]
    first = built.tasks[0]
    late_ms = round(1000 * seconds_of(late, "late"))
    definition = Definition(name, when, first.record.task, first.paths.name, repr(what), missed, late_ms)
    return Schedule(definition, workflow)
