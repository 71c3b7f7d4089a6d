"""In which order tasks of ``coord.recipes.queue`` are begun, by what the members say happened: the log alone.

- Whoever takes a task takes the first by name (its priority, then its age) of those that are free in its folder.
- None starves: of its own priority, or of one that counts less, only few are begun before a task that were enqueued
  after it. Not none, for the age in a name is the revision that the enqueuer had seen.

Free is what nobody holds, and what is not known to be kept back. A task that was held back for a time is free again at
a moment that nobody tells of, and one with a concurrency key waits for others: of these nothing is expected until they
are begun. Nor of what became free in the very revision of the grant: what one revision lets go goes to those who stand
in line in the order in which it let go.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from coord.api.events import CHANGED, CLAIMED, CREATED, DELETED, HELD_BACK, RELEASED, Change
from coord.jepsen_like.checkers.log import Log
from coord.jepsen_like.checkers.tasks import FOUND_MAX, ROOT
from coord.jepsen_like.checkers.violation import Violation
from coord.jepsen_like.history import Record
from coord.recipes.queue.layout import is_id, priority_of
from coord.recipes.queue.record import decode_task

ORDER: Final = "order of tasks"
STARVED: Final = "no task starves"
OVERTAKEN_MAX: Final = 50
_READY: Final = "/ready/"


@dataclass(slots=True)
class _Task:
    created: int
    free_since: int
    """A revision; 0: it is not known to be free."""
    limited: bool
    """It has lanes."""
    kept_back: bool = False
    """For a time, perhaps a time that is over, or until it is said otherwise."""
    claims: int = 0
    overtaken: int = 0


def check_task_order(records: Sequence[Record]) -> list[Violation]:
    return [each for each in _check(records) if each.promise == ORDER]


def check_no_task_starves(records: Sequence[Record]) -> list[Violation]:
    """Where those who enqueue make their names by the revision that they have seen."""
    return [each for each in _check(records) if each.promise == STARVED]


def _check(records: Sequence[Record]) -> list[Violation]:
    log = Log(records)
    found: list[Violation] = []
    folders: dict[str, dict[str, _Task]] = {}
    for revision in sorted(log.whole):
        for change in log.whole[revision]:
            found += _change(log, folders, revision, change)
            if len(found) >= FOUND_MAX:
                return found
    return found


def _change(log: Log, folders: dict[str, dict[str, _Task]], revision: int, change: Change) -> list[Violation]:
    kind, path, value, version, *_ = change
    above, _, id = path.rpartition("/")
    if not (path.startswith(ROOT) and _READY in path and is_id(id)):
        return []
    tasks = folders.setdefault(above, {})
    if kind == CREATED:
        tasks[id] = _Task(revision, revision, bool(decode_task(value or b"").lanes))
        return []
    task = tasks.get(id)
    if task is None:
        return []  # it was there before the log begins
    if kind == DELETED:
        del tasks[id]
    elif kind == CHANGED:
        task.limited = bool(decode_task(value or b"").lanes)
    elif kind == HELD_BACK:
        task.kept_back = version != 0
        task.free_since = 0 if task.kept_back or task.claims else revision
    elif kind == RELEASED:
        task.claims -= 1
        task.free_since = 0 if task.kept_back or task.claims else revision
    elif kind == CLAIMED:
        task.claims += 1
        task.kept_back, task.free_since = False, 0
        return _claimed(log, tasks, revision, id)
    return []


def _claimed(log: Log, tasks: dict[str, _Task], revision: int, id: str) -> list[Violation]:
    begun = tasks[id]
    found = []
    for other, task in tasks.items():
        if task.limited or not 0 < task.free_since < revision:
            continue
        places = tuple([log.places[each] for each in (task.created, revision) if each in log.places])
        if other < id:
            what = (
                f"the task {id} is begun in revision {revision}, and {other}, which comes before it, is free"
            )
            found.append(Violation(ORDER, what, places))
        elif task.created < begun.created and priority_of(other) <= priority_of(id):
            task.overtaken += 1
            if task.overtaken == OVERTAKEN_MAX + 1:
                what = f"by revision {revision} {task.overtaken} tasks were begun that came after {other}"
                found.append(Violation(STARVED, what, places))
    return found
