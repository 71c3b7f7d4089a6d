"""What a schedule does next: its definition, its state in the tree, and the time in; one step out. Pure.

A schedule's znode holds the last tick that was dealt with. A tick is enqueued in the very revision that writes it down,
on condition of the znode's version: so every worker may try, and one does.

A definition is the code's. Which one counts is the tree's: that of the worker that *started* last, told by a digest.
Workers with another one (an older deployment, mostly) leave the schedule alone, and so two deployments that run side by
side don't write over each other. The story that this alone would lose: 1. A new deployment's first worker starts, and
changes the schedule. 2. It is found wanting, and stopped. 3. The old workers, which never stopped, all leave the
schedule alone: nothing happens any more. So who sees that a tick of the other definition is overdue by
``TAKE_OVER_MS`` takes the schedule back.
"""

from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import islice
from typing import Final, Literal, cast

from pydantic import JsonValue, NonNegativeInt, TypeAdapter, ValidationError

from coord.recipes.queue.cron import Every, When, when_from_json
from coord.recipes.queue.errors import BadRecord

Missed = Literal["skip", "once", "all"]

VERSION: Final = 1
LATE_MS: Final = 60_000
"""A tick that is no later than this was not missed: a failover, or a deployment, took a while."""
ALL_MAX: Final = 100
"""Missed ticks that ``"all"`` makes up for, the last ones: a week without workers is not to become a flood."""
COUNT_MAX: Final = 1_000
"""Ticks that were passed over are counted up to here: of years there can be many."""
TAKE_OVER_MS: Final = 60_000
STAGGER_MS: Final = 500
AT_ONCE_MAX: Final = 50
"""Ticks that are enqueued by one request: of a short interval many are due after a failover, and each by itself would
take as long as the interval."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A schedule, as the code has it."""

    name: str
    when: When
    task: str
    """The name of its task's function; of a workflow the first one's. For people, as the next."""
    queue: str
    what: str
    """The call with its arguments and options, in words: so that a change of them changes the digest."""
    missed: Missed = "skip"
    late_ms: int = LATE_MS

    @property
    def digest(self) -> str:
        whole = repr((self.when.to_json(), self.task, self.queue, self.what, self.missed, self.late_ms))
        return blake2b(whole.encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class State:
    """A schedule, as the tree has it."""

    v: int
    digest: str
    when: dict[str, JsonValue]
    task: str
    queue: str
    missed: Missed
    last_ms: int | None = None
    """The last tick that was dealt with: enqueued, or passed over. ``None``: begin with the next from now."""
    ticks: NonNegativeInt = 0
    """So many were enqueued."""
    passed_over: NonNegativeInt = 0
    """So many were missed and not made up for, or not taken by the queue."""
    paused: bool = False
    by: str = ""
    """The worker that enqueued the last one; before the first the one that made this."""
    id: str = ""
    """The last one's task."""
    trouble: str = ""
    """Why the last one was not enqueued, if it was not."""


_STATE: Final = TypeAdapter(State)


def encode_state(state: State) -> bytes:
    return _STATE.dump_json(state, exclude_defaults=True)


def decode_state(value: bytes) -> State:
    """Raises :class:`~coord.recipes.queue.errors.BadRecord` (refused)."""
    try:
        state = _STATE.validate_json(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the whole"
        raise BadRecord(f"what stands here is not a schedule: {where}: {first['msg']}") from None
    if state.v != VERSION:
        raise BadRecord(f"what stands here is a schedule of version {state.v}; this program knows {VERSION}")
    return state


# --- steps -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Put:
    """Write this, on condition of the version that was read (or that there is none), and nothing else."""

    state: State


@dataclass(frozen=True, slots=True)
class Fire:
    """Enqueue the tick of ``due_ms`` in the revision that writes ``state``."""

    due_ms: int
    passed_over: int
    """Ticks before it that were missed, and are not made up for."""
    state: State


@dataclass(frozen=True, slots=True)
class Wait:
    """There is nothing to do before ``until_ms``; ``None``: not before the tree changes."""

    until_ms: int | None


Step = Put | Fire | Wait


def next_step(
    definition: Definition, state: State | None, now_ms: int, *, starting: bool = False, by: str = ""
) -> Step:
    """What the worker ``by`` is to do at ``now_ms`` about this schedule. ``starting``: it looks for the first time."""
    if state is None:
        # One that is gone later was removed by a person: it stays away until a worker starts.
        return Put(_new_state(definition, now_ms, by)) if starting else Wait(None)
    if state.digest != definition.digest:
        return _of_another(definition, state, now_ms, starting, by)
    if state.paused:
        return Wait(None)
    if state.last_ms is None:
        return Put(replace(state, last_ms=now_ms))
    due_ms = definition.when.following(state.last_ms)
    if due_ms is None:
        return Wait(None)
    begins_ms = due_ms + (0 if state.by == by else stagger_ms(definition.when, due_ms))
    if begins_ms > now_ms:
        return Wait(begins_ms)
    return _due(definition, state, due_ms, now_ms, by)


def ticks_due(definition: Definition, first: Fire, now_ms: int, by: str, at_most: int) -> list[Fire]:
    """``first``, and those that come right after it and are due as well."""
    fires = [first]
    while len(fires) < at_most:
        step = next_step(definition, fires[-1].state, now_ms, by=by)
        if not isinstance(step, Fire):
            break
        fires.append(step)
    return fires


def stagger_ms(when: When, due_ms: int) -> int:
    """How much later than the worker that had the last tick the others come: most of the time only one asks, and not
    all at the same moment, of whom one is served.
    """
    following_ms = when.following(due_ms)
    return STAGGER_MS if following_ms is None else min(STAGGER_MS, (following_ms - due_ms) // 4)


def count(when: When, after_ms: int, before_ms: int) -> int:
    """Ticks between the two, both excluded; ``COUNT_MAX`` stands for more."""
    if isinstance(when, Every):
        return min(max((before_ms - after_ms - 1) // when.every_ms, 0), COUNT_MAX)
    found = 0
    for due_ms in islice(when.times(after_ms), COUNT_MAX):
        if due_ms >= before_ms:
            break
        found += 1
    return found


def _due(definition: Definition, state: State, due_ms: int, now_ms: int, by: str) -> Step:
    when, last_ms = definition.when, state.last_ms
    missed_until_ms = now_ms - definition.late_ms
    if last_ms is None or due_ms > missed_until_ms:
        return _fire(state, due_ms, 0, by)
    on_time_ms = when.following(missed_until_ms)
    is_on_time = on_time_ms is not None and on_time_ms <= now_ms
    if definition.missed == "all":
        chosen_ms = when.latest(last_ms, missed_until_ms, ALL_MAX)[0]
    elif is_on_time:
        chosen_ms = cast(int, on_time_ms)  # one that is on time stands for those that were missed
    else:
        chosen_ms = when.latest(last_ms, missed_until_ms, 1)[0]
        if definition.missed == "skip":
            skipped = count(when, last_ms, chosen_ms) + 1
            return Put(replace(state, last_ms=chosen_ms, passed_over=state.passed_over + skipped))
    return _fire(state, chosen_ms, count(when, last_ms, chosen_ms), by)


def _fire(state: State, due_ms: int, passed_over: int, by: str) -> Fire:
    after = replace(
        state,
        last_ms=due_ms,
        ticks=state.ticks + 1,
        passed_over=state.passed_over + passed_over,
        by=by,
        trouble="",
    )
    return Fire(due_ms, passed_over, after)


def _new_state(definition: Definition, now_ms: int, by: str) -> State:
    return State(
        VERSION,
        definition.digest,
        definition.when.to_json(),
        definition.task,
        definition.queue,
        definition.missed,
        now_ms,
        by=by,
    )


def _of_another(definition: Definition, state: State, now_ms: int, starting: bool, by: str) -> Step:
    """The tree has another definition."""
    if not starting:
        if state.paused:
            return Wait(None)
        due_ms = when_from_json(state.when).following(now_ms if state.last_ms is None else state.last_ms)
        if due_ms is None:
            return Wait(None)
        if now_ms <= due_ms + TAKE_OVER_MS:
            return Wait(due_ms + TAKE_OVER_MS + 1)
    kept = state.last_ms if state.when == definition.when.to_json() else now_ms
    # With other times it begins anew: what the new ones would have been before now was never due.
    mine = _new_state(definition, now_ms, by)
    return Put(
        replace(
            mine,
            last_ms=kept,
            ticks=state.ticks,
            passed_over=state.passed_over,
            paused=state.paused,
            id=state.id,
        )
    )
