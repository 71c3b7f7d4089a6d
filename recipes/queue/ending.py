"""How tasks end, and how attempts do: as plans. Pure.

An end is one revision: the task goes, and with it the claim; its result comes; its key is free; those that come after
it have its result, and begin if it was the last one. So nothing can be lost between "done" and "next".

**Why the token and the version are compared.** 1. Worker A claims the task, and is paused. 2. Its session expires; B
claims the task. 3. A goes on, and completes it: the token at the task is B's by now. Nothing happens; B's attempt
counts. And: 1. A claims the task. 2. Somebody enqueues a task that is to come after it, which writes that into the
record. 3. A completes what it has read: it would forget the new one, which would wait for ever. The version is another:
nothing happens, and A is told the record as it is now.

**Why a dependent counts its inputs.** Of two parents that end at the same time each one sees, in its own revision, how
many inputs are there; the second one is the last, in whatever order they come. Rejected: a znode for each parent that
is not done yet (twice the writes, for the same knowledge).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from coord.client import Create, Delete, Get, HoldBack, Kind, MultiResult, Release, Set, Znode
from coord.recipes.queue.layout import QueuePaths, marker
from coord.recipes.queue.plan import (
    Op,
    Plan,
    has_children,
    has_value,
    has_version,
    if_so,
    is_claimed,
    is_claimed_by,
    is_missing,
    is_there,
    is_unclaimed,
    nested,
)
from coord.recipes.queue.record import Attempt, Dead, Dependent, Ended, encode_dead, encode_ended, encode_task
from coord.recipes.queue.running import Asked, Changed, Done, Found, Gone, Lost, Running

DAY_MS: Final = 86_400_000
DEAD_MS: Final = 30 * DAY_MS
"""How long dead letters are kept."""
CANCEL_MS: Final = DAY_MS
INPUT_MS: Final = 365 * DAY_MS
"""How long an input waits for its task. They go with it; the time is for those of dead letters."""


def end(
    running: Running, ended: Ended, once: Sequence[Op] = (), reported: bool = True
) -> Plan[Done | Lost | Changed]:
    """The end of a task by who runs it. ``once``: ops of the task's own, in the same revision. ``reported``: whether it
    may have told of its progress.
    """
    then = [*once, *_end(running, ended)]
    if reported:
        then.append(Delete(running.paths.progress(running.id), missing_ok=True))
    return _as_holder(running, then)


def retry(running: Running, attempt: Attempt, delay_ms: int) -> Plan[Done | Lost | Changed]:
    """The end of an attempt: written down, and the task is anybody's again after ``delay_ms``."""
    record = replace(running.record.with_attempt(attempt), writes=running.version + 1)
    then: list[Op] = [Set(running.path, encode_task(record))]
    if delay_ms > 0:
        then.append(HoldBack(running.path, delay_ms))
    # Last: a release grants on at the end of the revision, and it is held back by then in any case; but who reads this
    # should not have to know.
    then.append(Release(running.claim))
    return _as_holder(running, then)


def cancel(found: Found, ended: Ended) -> Plan[Done | Asked | Changed | Gone]:
    """End a task that waits; where it runs, have its worker told."""
    path, marker_path = found.path, found.paths.cancel(found.id)
    ask = if_so([is_missing(marker_path)], [Create(marker_path, kind=Kind.TTL, ttl_ms=CANCEL_MS)])

    def read(result: MultiResult) -> Done | Asked | Changed | Gone:
        if result.succeeded:
            return Done()
        runs = nested(result, 0)
        return Asked() if runs.succeeded else _changed(nested(runs, 0)) or Gone()

    return Plan(
        (has_version(path, found.version), is_unclaimed(path)),
        tuple(_end(found, ended)),
        (if_so([is_claimed(path)], [ask], [if_so([is_there(path)], [Get(path)])]),),
        read,
    )


def discard(found: Found, ended: Ended) -> Plan[bool]:
    """End a task that waits; if it runs, or was changed meanwhile, leave it alone (false)."""
    compare = (has_version(found.path, found.version), is_unclaimed(found.path))
    return Plan(compare, tuple(_end(found, ended)), (), lambda result: result.succeeded)


def expire(found: Found, ended: Ended) -> Plan[Done | Changed | Gone]:
    """End a task that waits past its deadline; ``Gone``: it does not, it runs or has ended."""
    path = found.path

    def read(result: MultiResult) -> Done | Changed | Gone:
        return Done() if result.succeeded else _changed(nested(result, 0)) or Gone()

    late = (is_missing(found.paths.begin_by(found.id)), is_unclaimed(path))
    return Plan(
        (has_version(path, found.version), *late),
        tuple(_end(found, ended)),
        (if_so(late, [Get(path)]),),
        read,
    )


# --- inside ----------------------------------------------------------------------------------------------------------


def _as_holder(running: Running, then: Sequence[Op]) -> Plan[Done | Lost | Changed]:
    path = running.path
    mine = is_claimed_by(path, running.token)

    def read(result: MultiResult) -> Done | Lost | Changed:
        return Done() if result.succeeded else _changed(nested(result, 0)) or Lost()

    return Plan((mine, has_version(path, running.version)), tuple(then), (if_so([mine], [Get(path)]),), read)


def _changed(result: MultiResult) -> Changed | None:
    """What a nested multi has read, if it has."""
    if not result.succeeded:
        return None
    [znode] = result.results
    if not isinstance(znode, Znode):
        raise TypeError(f"the op was no get: {znode!r:.80}")
    return Changed(znode.value, znode.stat.version)


def _end(found: Found, ended: Ended) -> list[Op]:
    """What an end is, whoever brings it about."""
    paths, id, record = found.paths, found.id, found.record
    ops: list[Op] = [Delete(found.path)]
    if record.keep_ms:
        ops.append(Create(paths.done(id), encode_ended(ended), Kind.TTL, ttl_ms=record.keep_ms))
    if ended.outcome == "failed":
        dead = encode_dead(Dead(found.needs, ended, record))
        ops.append(Create(paths.dead(id), dead, Kind.TTL, ttl_ms=DEAD_MS))
    elif record.after:
        # A dead letter keeps its inputs: it can be enqueued again.
        ops.append(Delete(paths.inputs(id), subtree=True, missing_ok=True))
    if record.unique:
        # It may be another's by now, where it was free as soon as this one had begun.
        key = paths.unique(record.unique)
        ops.append(if_so([has_value(key, marker(found.needs, id))], [Delete(key)]))
    if record.begin_by:
        ops.append(Delete(paths.begin_by(id), missing_ok=True))
    if ended.outcome == "cancelled":
        ops.append(Delete(paths.cancel(id), missing_ok=True))
    if record.then:
        told = encode_ended(_without_traceback(ended))
        ops += [_let_go(found.paths, each, told, ended.succeeded) for each in record.then]
    return ops


def _let_go(paths: QueuePaths, dependent: Dependent, told: bytes, succeeded: bool) -> Op:
    """Give a dependent its input, and let it begin if it was the last one, or if there is nothing more to wait for.
    One that was cancelled meanwhile is not there any more.
    """
    theirs = paths.sibling(dependent.queue)
    task = theirs.task(dependent.needs, dependent.id)
    inputs = theirs.inputs(dependent.id)
    put = Create(theirs.input(dependent.id, dependent.n), told, Kind.TTL, ttl_ms=INPUT_MS)
    there = (is_there(task), is_there(inputs))
    if not succeeded and dependent.on == "success":
        return if_so(there, [put, HoldBack(task, 0)])
    free = HoldBack(task, dependent.delay_ms)
    if dependent.of == 1:
        return if_so(there, [put, free])
    last = (is_there(task), has_children(inputs, dependent.of - 1))
    return if_so(last, [put, free], [if_so(there, [put])])


def _without_traceback(ended: Ended) -> Ended:
    if ended.failure is None or not ended.failure.traceback:
        return ended
    return replace(ended, failure=replace(ended.failure, traceback=""))
