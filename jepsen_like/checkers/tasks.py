"""Tasks of ``coord.recipes.queue``, by what the members say happened: the log alone, whoever believed what.

- A task is gone only by its end: in the revision of its deletion there comes its result, and no second one ever.
- It is ended by who presents the token of the claim that is held, or else while nobody holds one: a worker that lost it
  ends nothing. (The session may be another: a worker whose session was lost to it, and not ended yet, has the token.)
- One that comes after others is not claimed before all of them have ended, or one has not succeeded where that ends it.
- Those that come after a task are told of its end in that very revision, and the one that waited for it alone is let
  go: nothing waits for what is over.
- Of the tasks of one unique key one is there at a time, but for those that gave it up when they began.
- Of those with one concurrency key never more are held than it is wide.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from coord.api.events import CHANGED, CLAIMED, CREATED, DELETED, HELD_BACK, RELEASED, UNTIL_TOLD, Change
from coord.api.ops import Multi, Op, Target
from coord.jepsen_like.checkers.log import Log
from coord.jepsen_like.checkers.violation import Violation
from coord.jepsen_like.history import Operation, Record
from coord.recipes.queue.layout import is_id
from coord.recipes.queue.record import TaskRecord, decode_ended, decode_task

PROMISE: Final = "tasks"
FOUND_MAX: Final = 20
ROOT: Final = "/sim"
_READY: Final = "/ready/"


@dataclass(slots=True)
class _Task:
    created: int
    record: TaskRecord
    holders: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Claims that are held: the revisions of their grants, which are their tokens, and whose they are."""
    waits: bool = False
    """Held back until it is said otherwise."""
    inputs: int = 0
    failed: bool = False
    """One of its inputs did not succeed."""
    begun: bool = False


def check_tasks(records: Sequence[Record]) -> list[Violation]:
    asked = {
        (each.session, each.request): each.op for each in records if type(each) is Operation and each.request
    }
    return _Check(Log(records), asked).run()


class _Check:
    def __init__(self, log: Log, asked: dict[tuple[int, int], Op]) -> None:
        self._log = log
        self._asked = asked
        """What each request of a session was."""
        self._tasks: dict[str, _Task] = {}
        """By id: those that have not ended."""
        self._ended: dict[str, int] = {}
        self._keys: dict[str, str] = {}
        self._found: list[Violation] = []

    def run(self) -> list[Violation]:
        for revision in sorted(self._log.whole):
            self._revision(revision, self._log.whole[revision])
            if len(self._found) >= FOUND_MAX:
                break
        return self._found

    def _say(self, what: str, *revisions: int) -> None:
        places = tuple([self._log.places[each] for each in revisions if each in self._log.places])
        self._found.append(Violation(PROMISE, what, places))

    def _revision(self, revision: int, changes: Sequence[Change]) -> None:
        ends = {
            id: (session, request)
            for kind, path, _, _, session, request, _ in changes
            if kind == DELETED and (id := _task_of(path)) is not None
        }
        told = [_name(path) for kind, path, *_ in changes if kind == CREATED and "/done/" in path]
        for id in told:
            if id in self._ended:
                self._say(f"the task {id} ended in revisions {self._ended[id]} and {revision}", revision)
            self._ended[id] = revision
        for id, by in ends.items():
            self._end(revision, id, by, id in told, changes)
        for change in changes:
            self._change(revision, change)
        for id, task in self._tasks.items():
            if task.waits and task.record.after and task.inputs >= task.record.after:
                self._say(
                    f"all that the task {id} comes after has ended by revision {revision}, and it waits",
                    revision,
                )
                task.waits = False  # told once

    def _end(
        self, revision: int, id: str, by: tuple[int, int], told: bool, changes: Sequence[Change]
    ) -> None:
        task = self._tasks.pop(id, None)
        if task is None:
            return
        if not told:
            self._say(f"the task {id} is gone in revision {revision}, without an end", task.created, revision)
        inputs = {path.partition("/inputs/")[2] for kind, path, *_ in changes if kind == CREATED}
        for each in task.record.then:
            if each.id in self._tasks and f"{each.id}/{each.n:05}" not in inputs:
                what = f"the task {id} ended in revision {revision}, and {each.id}, which comes after it, was not told"
                self._say(what, self._tasks[each.id].created, revision)
        tokens = sorted(token for token, _ in task.holders.values())
        presented = _presented(self._asked.get(by), id)
        if by in self._asked and presented != tokens:
            what = f"the task {id}, held with the tokens {tokens}, was ended in revision {revision} with {presented}"
            self._say(what, task.created, revision)
        # Of who is not in the history it is not known what they presented; but they have one session for all they do.
        sessions = [session for _, session in task.holders.values()]
        if by not in self._asked and sessions and by[0] not in sessions:
            what = f"the task {id}, held by {sessions}, was ended in revision {revision} by session {by[0]}"
            self._say(what, task.created, revision)
        if self._keys.get(task.record.unique) == id:
            del self._keys[task.record.unique]

    def _change(self, revision: int, change: Change) -> None:
        kind, path, value, version, session, number, _ = change
        id = _task_of(path)
        if id is None:
            if kind == CREATED and "/inputs/" in path:
                self._input(path, value or b"")
            return
        if kind == CREATED:
            self._create(revision, id, value or b"")
            return
        task = self._tasks.get(id)
        if task is None:
            return
        if kind == CHANGED:
            task.record = decode_task(value or b"")
        elif kind == HELD_BACK:
            task.waits = version == UNTIL_TOLD
        elif kind == RELEASED:
            task.holders.pop(number, None)
        elif kind == CLAIMED:
            self._is_within_limits(revision, id, task)
            task.holders[number] = (revision, session)
            task.begun = True
            if task.inputs < task.record.after and not task.failed:
                what = f"the task {id} began in revision {revision}, after {task.inputs} of {task.record.after} others"
                self._say(what, task.created, revision)

    def _is_within_limits(self, revision: int, id: str, task: _Task) -> None:
        for name, width, *_ in task.record.lanes:
            others = [
                each
                for each, other in self._tasks.items()
                if other.holders and name in [lane[0] for lane in other.record.lanes]
            ]
            if 0 < width <= len(others):
                what = f"the task {id} began in revision {revision} beside {others}, though {name!r} is {width} wide"
                self._say(what, task.created, revision)

    def _create(self, revision: int, id: str, value: bytes) -> None:
        record = decode_task(value)
        self._tasks[id] = _Task(revision, record)
        if record.unique:
            other = self._tasks.get(self._keys.get(record.unique, ""))
            if other is not None and not other.begun:
                what = f"two tasks have the unique key {record.unique!r} in revision {revision}: {id} and another"
                self._say(what, other.created, revision)
            self._keys[record.unique] = id

    def _input(self, path: str, value: bytes) -> None:
        task = self._tasks.get(path.split("/")[-2])
        if task is not None and not is_id(_name(path)):
            task.inputs += 1
            task.failed |= not decode_ended(value).succeeded


def _presented(op: object, id: str) -> list[int]:
    """The token that a request wants this task to be held with; of cancellations there is none. Workers end many tasks
    by one request: each end is a multi in it.
    """
    if not isinstance(op, Multi):
        return []
    own = [
        int(each.operand)
        for each in op.compare
        if each.target is Target.CLAIM_TOKEN and _name(each.path) == id and isinstance(each.operand, int)
    ]
    return own + [token for each in op.then for token in _presented(each, id)]


def _task_of(path: str) -> str | None:
    """The id, if a task stands there."""
    name = _name(path)
    return name if path.startswith(ROOT) and _READY in path and is_id(name) else None


def _name(path: str) -> str:
    return path.rpartition("/")[2]
