"""How tasks are enqueued: as a plan for any number of them. Pure.

One request and one revision, whatever it is: a task, hundreds, a workflow. The queue must not be closed and its folder
must have room; a task with keys, or that comes after others, is a nested multi with conditions of its own.

**A key whose task is gone.** The key's znode goes with its task, in one revision; but a task can also be deleted by
hand. 1. The znode says which task has the key. 2. Who meets it asks once more, on condition that it still says so and
that this task is not there: then the new one takes the key. So nothing that anybody deletes blocks a key for ever.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from coord.client import (
    Compare,
    Create,
    ExistsOp,
    Get,
    HoldBack,
    Kind,
    Lane,
    MultiResult,
    Set,
    SetLanes,
    Stat,
    Znode,
)
from coord.recipes.queue.ending import INPUT_MS
from coord.recipes.queue.errors import QueueClosed, QueueFull
from coord.recipes.queue.layout import QueuePaths, marked, marker
from coord.recipes.queue.options import Until
from coord.recipes.queue.plan import (
    Op,
    Plan,
    has_room,
    has_value,
    has_version,
    if_so,
    is_claimed,
    is_missing,
    is_there,
    nested,
)
from coord.recipes.queue.record import TaskRecord, encode_task
from coord.recipes.queue.running import Found

BATCH_MAX: Final = 200
"""Tasks of one request of ``enqueue_many``. A request is one revision, and stops the others for as long as it takes."""
BATCH_BYTES_MAX: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Key:
    """A unique key, and until when the task has it."""

    key: str
    until: Until = "ended"
    ttl_ms: int = 0
    """0: as ``until`` says; else for so long, whatever becomes of the task."""


@dataclass(frozen=True, slots=True)
class New:
    """A task that is to be enqueued."""

    paths: QueuePaths
    needs: str
    id: str
    record: TaskRecord
    hold_ms: int | None = 0
    """How long it is held back at first; ``None``: until those before it are done; 0: not."""
    begin_by_ms: int = 0
    """Within which it must have begun; 0: whenever."""
    unique: Key | None = None
    same: str | None = None
    same_ms: int = 0
    parents: tuple[Found, ...] = ()
    """Tasks that are there already and that it comes after, with their records as they are to be from now on."""
    inputs: tuple[tuple[int, bytes], ...] = ()
    """Of those that it comes after the ones that have ended, and how."""
    instead_of: bytes | None = None
    """What the znode of its unique key says: a task that may be gone, or may have begun."""

    @property
    def path(self) -> str:
        return self.paths.task(self.needs, self.id)


@dataclass(frozen=True, slots=True)
class Enqueued:
    """It is there."""

    revision: int


@dataclass(frozen=True, slots=True)
class Known:
    """It is not: another task has its key."""

    needs: str
    id: str
    by: str
    """``same`` or ``unique``."""
    value: bytes
    """What the key's znode says."""


@dataclass(frozen=True, slots=True)
class Moved:
    """It is not: one that it comes after is not as it was. Read again."""


@dataclass(frozen=True, slots=True)
class NoFolders:
    """Nothing was enqueued: these queues (and needs) have no folders yet. Make them, once, and ask again."""

    folders: tuple[tuple[QueuePaths, str], ...]


Answer = Enqueued | Known | Moved


def enqueue(tasks: Sequence[New], max_length: int) -> Plan[tuple[Answer, ...] | NoFolders]:
    """All of them, but for those whose key another task has. Its answer raises
    :class:`~coord.recipes.queue.errors.QueueClosed` or :class:`~coord.recipes.queue.errors.QueueFull` (refused).
    """
    if len(tasks) == 1:
        folders = {(tasks[0].paths, tasks[0].needs): 1}
        queues = [tasks[0].paths]
    else:
        folders = dict(Counter([(each.paths, each.needs) for each in tasks]))
        queues = list(dict.fromkeys([paths for paths, _ in folders]))
    compare = [is_missing(paths.closed) for paths in queues]
    compare += [has_room(paths.folder(needs), n, max_length) for (paths, needs), n in folders.items()]
    then: list[Op] = []
    positions: dict[str, int] = {}
    """Of each task that has conditions of its own: where its nested multi is. Others are there if anything is."""
    # Those who stand in line are served in the order in which a revision makes something for them: by priority, too.
    for new in sorted(tasks, key=lambda each: each.id) if len(tasks) > 1 else tasks:
        conditions = _conditions(new)
        if conditions:
            positions[new.id] = len(then)
            then.append(_guarded(new, conditions))
        else:
            then += _create(new)
    otherwise: list[Op] = [ExistsOp(paths.closed) for paths in queues]
    otherwise += [ExistsOp(paths.folder(needs)) for paths, needs in folders]

    def read(result: MultiResult) -> tuple[Answer, ...] | NoFolders:
        if not result.succeeded:
            return _refused(queues, folders, result, max_length)
        return tuple(
            [
                _answer(new, nested(result, positions[new.id]))
                if new.id in positions
                else Enqueued(result.revision)
                for new in tasks
            ]
        )

    return Plan(tuple(compare), tuple(then), tuple(otherwise), read)


def make_folders(missing: NoFolders) -> list[Op]:
    """What makes them, as ops of one multi: others may make them at the same time. In a queue that is paused a new
    folder is, too.
    """
    paths = dict.fromkeys([path for queue, needs in missing.folders for path in queue.parents(needs)])
    hold = {
        queue.folder(needs): [if_so([is_there(queue.paused)], [HoldBack(queue.folder(needs), None)])]
        for queue, needs in missing.folders
    }
    return [if_so([is_missing(path)], [Create(path, parents=True), *hold.get(path, [])]) for path in paths]


# --- inside ----------------------------------------------------------------------------------------------------------


def _conditions(new: New) -> list[list[Compare]]:
    """Sets of conditions, of which one has to hold; none: there is nothing to be looked at."""
    compare = [has_version(parent.path, parent.version) for parent in new.parents]
    if new.same is not None:
        compare.append(is_missing(new.paths.same(new.same)))
    if new.unique is None:
        return [compare] if compare else []
    key = new.paths.unique(new.unique.key)
    if new.instead_of is None:
        return [[*compare, is_missing(key)]]
    compare.append(has_value(key, new.instead_of))
    before = marked(new.instead_of)
    if before is None:
        return [compare]  # it names no task: somebody has put it there by hand
    path = new.paths.task(*before)
    gone = [*compare, is_missing(path)]
    return [gone, [*compare, is_claimed(path)]] if new.unique.until == "begun" else [gone]


def _guarded(new: New, conditions: list[list[Compare]]) -> Op:
    """With conditions of its own; where none of them holds, what stands in the way is read."""
    create = _create(new)
    otherwise: list[Op] = [if_so([is_there(key)], [Get(key)]) for _, key in _keys(new)]
    for compare in reversed(conditions):
        otherwise = [if_so(compare, create, otherwise)]
    return otherwise[0]


def _keys(new: New) -> list[tuple[str, str]]:
    keys = []
    if new.same is not None:
        keys.append(("same", new.paths.same(new.same)))
    if new.unique is not None:
        keys.append(("unique", new.paths.unique(new.unique.key)))
    return keys


def _create(new: New) -> list[Op]:
    paths, id = new.paths, new.id
    mine = marker(new.needs, id)
    ops: list[Op] = [Create(new.path, encode_task(new.record))]
    if new.hold_ms != 0:
        ops.append(HoldBack(new.path, new.hold_ms))
    if new.record.lanes:
        ops.append(SetLanes(new.path, tuple([Lane(*lane) for lane in new.record.lanes])))
    if new.begin_by_ms:
        ops.append(Create(paths.begin_by(id), kind=Kind.TTL, ttl_ms=new.begin_by_ms))
    if new.record.after:
        ops.append(Create(paths.inputs(id)))
        ops += [Create(paths.input(id, n), told, Kind.TTL, ttl_ms=INPUT_MS) for n, told in new.inputs]
    if new.unique is not None:
        key = paths.unique(new.unique.key)
        if new.instead_of is not None:
            ops.append(Set(key, mine))
        elif new.unique.ttl_ms:
            ops.append(Create(key, mine, Kind.TTL, ttl_ms=new.unique.ttl_ms))
        else:
            ops.append(Create(key, mine))
    if new.same is not None:
        ops.append(Create(paths.same(new.same), mine, Kind.TTL, ttl_ms=new.same_ms))
    for parent in new.parents:
        record = replace(parent.record, writes=parent.version + 1)
        ops.append(Set(parent.path, encode_task(record)))
    return ops


def _answer(new: New, result: MultiResult) -> Answer:
    """Of the nested multi of one task."""
    for _ in _conditions(new)[1:]:
        if not result.succeeded:
            result = nested(result, 0)
    if result.succeeded:
        return Enqueued(result.revision)
    for position, (by, _) in enumerate(_keys(new)):
        read = nested(result, position)
        if read.succeeded:
            [znode] = read.results
            if not isinstance(znode, Znode):
                raise TypeError(f"the op was no get: {znode!r:.80}")
            needs, id = marked(znode.value) or ("", "")
            return Known(needs, id, by, znode.value)
    return Moved()


def _refused(
    queues: Sequence[QueuePaths],
    folders: dict[tuple[QueuePaths, str], int],
    result: MultiResult,
    max_length: int,
) -> NoFolders:
    for paths, closed in zip(queues, result.results, strict=False):
        if closed is not None:
            raise QueueClosed(
                f"the queue {paths.name} is closed: it is being drained, and takes no tasks",
                {"queue": paths.name},
            )
    stats = dict(zip(folders, result.results[len(queues) :], strict=True))
    missing = [folder for folder, stat in stats.items() if stat is None]
    if missing:
        return NoFolders(tuple(missing))
    counts = {
        (stat.child_count + folders[folder] - max_length): (folder[0], stat.child_count)
        for folder, stat in stats.items()
        if isinstance(stat, Stat)
    }
    over = max(counts)
    paths, count = counts[over]
    more = over + max_length - count
    if more > max_length:
        what = f"{more} tasks at once are more than the queue {paths.name} ever takes: {max_length} wait and run in it"
        what += " at most; enqueue fewer by one call, or give the app a greater max_length"
    else:
        what = f"{count} tasks wait and run in the queue {paths.name}, and it takes {max_length} at most"
        what += f": there is no room for {more} more" if more > 1 else ""
    raise QueueFull(what, {"queue": paths.name, "tasks": count, "maximum": max_length})
