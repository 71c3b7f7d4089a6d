"""One fault, planted into a good history. Each function returns the spoiled history, or ``None`` if this one has no
place for it; the table says which checker has to see it."""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from coord.api import ops, results
from coord.api.events import DELETED, Reason
from coord.jepsen_like.checkers.log import changes_something
from coord.jepsen_like.checkers.search import searches
from coord.jepsen_like.history import (
    Committed,
    Digest,
    Operation,
    Record,
    SessionOver,
    SessionProof,
    WatchOpened,
    WatchOver,
    WatchTold,
)

Spoiled = list[Record] | None


def _pick(
    records: list[Record], dice: Random, kind: type[Any], wanted: Callable[[Any], bool] = lambda each: True
) -> int | None:
    found = [place for place, each in enumerate(records) if type(each) is kind and wanted(each)]
    return dice.choice(found) if found else None


def _with(records: list[Record], place: int, record: Record) -> list[Record]:
    return [*records[:place], record, *records[place + 1 :]]


def _without(records: list[Record], *places: int) -> list[Record]:
    return [each for place, each in enumerate(records) if place not in places]


def _wrote(each: Any) -> bool:
    return each.outcome == "ok" and changes_something(each)


def _got(each: Operation) -> bool:
    return each.outcome == "ok" and isinstance(each.op, ops.Get)


# --- linearizable ---


def stale_read(records: list[Record], dice: Random) -> Spoiled:
    """A linearizable read is answered, truly, as of a revision before one that was shown before it was called."""
    places = [place for place, each in enumerate(records) if type(each) is Operation and _got(each)]
    dice.shuffle(places)
    for place in places:
        read: Any = records[place]
        if read.mode != "linearizable":
            continue
        floor = max(
            (each.revision or 0 for each in records if type(each) is Operation and _wrote(each)
             and (each.returned_ns or 0) < read.called_ns), default=0,
        )  # fmt: skip
        for older in places:
            other: Any = records[older]
            if other.op == read.op and other.revision < floor:
                return _with(
                    records,
                    place,
                    replace(read, revision=other.revision, index=other.index, result=other.result),
                )
    return None


def wrong_value(records: list[Record], dice: Random) -> Spoiled:
    place = _pick(records, dice, Operation, lambda each: _got(each) and each.mode == "linearizable")
    if place is None:
        return None
    read: Any = records[place]
    return _with(records, place, replace(read, result=replace(read.result, value=b"never")))


def wrong_local_value(records: list[Record], dice: Random) -> Spoiled:
    place = _pick(records, dice, Operation, lambda each: _got(each) and each.mode in ("local", "at_least"))
    if place is None:
        return None
    read: Any = records[place]
    stat = read.result.stat._replace(version=read.result.stat.version + 1)
    return _with(records, place, replace(read, result=replace(read.result, stat=stat)))


def false_conflict(records: list[Record], dice: Random) -> Spoiled:
    """A read that was answered is refused instead."""
    place = _pick(records, dice, Operation, lambda each: _got(each) and each.mode == "linearizable")
    if place is None:
        return None
    read: Any = records[place]
    return _with(records, place, replace(read, outcome="refused", error="not_found", result=None))


def future_write(records: list[Record], dice: Random) -> Spoiled:
    """A write was called only after somebody had been shown its revision."""
    for place, each in enumerate(records):
        if type(each) is Operation and _wrote(each):
            shown = [
                other.returned_ns or 0
                for other in records
                if type(other) is Operation and other.outcome == "ok" and other is not each
                and other.revision is not None and each.revision is not None and other.revision >= each.revision
            ]  # fmt: skip
            if shown and min(shown) < (each.returned_ns or 0):
                return _with(records, place, replace(each, called_ns=min(shown) + 1))
    return None


def split_revision(records: list[Record], dice: Random) -> Spoiled:
    """A multi's changes are two revisions in the log (all that follow keep theirs): half of it is lost."""
    place = _pick(records, dice, Committed, lambda each: len(each.changes) > 1 and each.changes[0][5])
    if place is None:
        return None
    entry: Any = records[place]
    return _with(records, place, replace(entry, changes=entry.changes[:-1]))


# --- exactly once, acknowledged ---


def duplicated_apply(records: list[Record], dice: Random) -> Spoiled:
    """The last revision's request appears once more, behind it."""
    entries: list[Any] = [each for each in records if type(each) is Committed]
    made = [each for each in entries if each.changes[0][5]]
    if not made:
        return None
    again = replace(
        dice.choice(made),
        revision=entries[-1].revision + 1,
        index=entries[-1].index + 1,
        at_ns=entries[-1].at_ns,
    )
    return [*records, again]


def refused_but_done(records: list[Record], dice: Random) -> Spoiled:
    place = _pick(records, dice, Operation, _wrote)
    if place is None:
        return None
    each: Any = records[place]
    return _with(records, place, replace(each, outcome="refused", error="conflict", result=None))


def lost_write(records: list[Record], dice: Random) -> Spoiled:
    """The log ends before the last write that was acknowledged."""
    last = max(
        (each.revision or 0 for each in records if type(each) is Operation and _wrote(each)), default=0
    )
    spoiled = [each for each in records if type(each) is not Committed or each.revision < last]
    return spoiled if last and any(type(each) is Committed for each in spoiled) else None


def hole_in_the_log(records: list[Record], dice: Random) -> Spoiled:
    entries = [place for place, each in enumerate(records) if type(each) is Committed]
    return _without(records, dice.choice(entries[1:-1])) if len(entries) > 2 else None


# --- watches ---


def _later_told(records: list[Record]) -> list[int]:
    """Deliveries that are not the last of their watch."""
    last = {each.watch: place for place, each in enumerate(records) if type(each) is WatchTold}
    return [
        place for place, each in enumerate(records) if type(each) is WatchTold and last[each.watch] > place
    ]


def dropped_event(records: list[Record], dice: Random) -> Spoiled:
    found = _later_told(records)
    return _without(records, dice.choice(found)) if found else None


def duplicated_event(records: list[Record], dice: Random) -> Spoiled:
    place = _pick(records, dice, WatchTold)
    return None if place is None else [*records[: place + 1], records[place], *records[place + 1 :]]


def reordered_events(records: list[Record], dice: Random) -> Spoiled:
    found = _later_told(records)
    if not found:
        return None
    place = dice.choice(found)
    one: Any = records[place]
    at, other = next(
        (at, each)
        for at, each in enumerate(records)
        if at > place and type(each) is WatchTold and each.watch == one.watch
    )
    swapped = replace(one, revision=other.revision, changes=other.changes)
    return _with(
        _with(records, place, swapped), at, replace(other, revision=one.revision, changes=one.changes)
    )


def half_a_revision(records: list[Record], dice: Random) -> Spoiled:
    place = _pick(records, dice, WatchTold, lambda each: len(each.changes) > 1)
    if place is None:
        return None
    told: Any = records[place]
    return _with(records, place, replace(told, changes=told.changes[:-1]))


def torn_revision(records: list[Record], dice: Random) -> Spoiled:
    """One revision, told in two deliveries."""
    place = _pick(records, dice, WatchTold, lambda each: len(each.changes) > 1)
    if place is None:
        return None
    told: Any = records[place]
    parts = [replace(told, changes=told.changes[:1]), replace(told, changes=told.changes[1:])]
    return [*records[:place], *parts, *records[place + 1 :]]


def event_after_the_reply(records: list[Record], dice: Random) -> Spoiled:
    """A reply that shows a revision is given before the events of it."""
    for place, told in enumerate(records):
        if type(told) is not WatchTold:
            continue
        for at in range(place + 1, len(records)):
            each = records[at]
            if type(each) in (WatchOver, WatchOpened) and each.watch == told.watch:  # type: ignore[union-attr]
                break
            if (
                type(each) is Operation
                and each.connection == told.connection
                and (each.revision or 0) >= told.revision
            ):
                return [*records[:place], each, *records[place:at], *records[at + 1 :]]
    return None


def silent_gap(records: list[Record], dice: Random) -> Spoiled:
    """A watch goes on elsewhere, from further on than it was told, and what lies between is told to nobody."""
    seen: set[int] = set()
    for place, each in enumerate(records):
        if type(each) is not WatchOpened:
            continue
        if each.watch in seen:
            after = [
                (at, told)
                for at, told in enumerate(records)
                if at > place and type(told) is WatchTold and told.watch == each.watch
            ]
            if after and type(after[0][1]) is WatchTold:
                at, told = after[0]
                skipped = replace(each, from_revision=told.revision + 1)
                return _without(_with(records, place, skipped), at)
        seen.add(each.watch)
    return None


def foreign_event(records: list[Record], dice: Random) -> Spoiled:
    place = _pick(records, dice, WatchTold)
    if place is None:
        return None
    told: Any = records[place]
    alien = (1, "/elsewhere", b"", 0, 1, 1, 0)
    return _with(records, place, replace(told, changes=(*told.changes, alien)))


def watch_from_the_future(records: list[Record], dice: Random) -> Spoiled:
    """A new watch begins behind a revision whose write was called later."""
    for place, each in enumerate(records):
        if type(each) is not WatchOpened or each.from_revision is not None:
            continue
        for later in records:
            if type(later) is Operation and _wrote(later) and later.called_ns > each.at_ns:
                told = [at for at, other in enumerate(records) if type(other) is WatchTold
                        and other.watch == each.watch and other.revision <= (later.revision or 0)]  # fmt: skip
                return _without(_with(records, place, replace(each, revision=later.revision or 0)), *told)
    return None


# --- sessions ---


def _expiry(records: list[Record], dice: Random) -> int | None:
    return _pick(
        records,
        dice,
        Committed,
        lambda each: any(change[6] == Reason.SESSION_EXPIRED for change in each.changes),
    )


def early_expiry(records: list[Record], dice: Random) -> Spoiled:
    place = _expiry(records, dice)
    if place is None:
        return None
    entry: Any = records[place]
    session = entry.changes[0][4]
    proofs = [each.called_ns for each in records if type(each) is SessionProof and each.session == session]
    return _with(records, place, replace(entry, at_ns=max(proofs) + 1_000_000_000))


def told_over_early(records: list[Record], dice: Random) -> Spoiled:
    place = _pick(records, dice, SessionOver, lambda each: each.by == "member")
    if place is None:
        return None
    over: Any = records[place]
    proofs = [
        each.called_ns for each in records if type(each) is SessionProof and each.session == over.session
    ]
    return _with(records, place, replace(over, at_ns=max(proofs) + 1_000_000_000))


def ephemeral_left(records: list[Record], dice: Random) -> Spoiled:
    """An end forgets one of several ephemerals."""
    place = _pick(
        records, dice, Committed,
        lambda each: sum(change[0] == DELETED and change[6] in (1, 2) for change in each.changes) > 1,
    )  # fmt: skip
    if place is None:
        return None
    entry: Any = records[place]
    return _with(records, place, replace(entry, changes=entry.changes[:-1]))


def zombie_write(records: list[Record], dice: Random) -> Spoiled:
    """A session that has ended changes something."""
    place = _pick(records, dice, Committed, lambda each: any(change[6] in (1, 2) for change in each.changes))
    if place is None:
        return None
    entry: Any = records[place]
    last: Any = [each for each in records if type(each) is Committed][-1]
    changes = ((1, "/zombie", b"", 0, entry.changes[0][4], 999_999, 0),)
    return [*records, Committed(last.revision + 1, last.index + 1, changes, last.at_ns)]


def proof_of_the_dead(records: list[Record], dice: Random) -> Spoiled:
    place = _pick(records, dice, SessionOver, lambda each: each.by == "member")
    if place is None:
        return None
    over: Any = records[place]
    proof = SessionProof(over.process, over.session, 1, over.at_ns + 1, over.at_ns + 2)
    return [*records[: place + 1], proof, *records[place + 1 :]]


# --- causal, convergence ---


def at_least_not_reached(records: list[Record], dice: Random) -> Spoiled:
    place = _pick(records, dice, Operation, lambda each: each.mode == "at_least" and each.outcome == "ok")
    if place is None:
        return None
    read: Any = records[place]
    return _with(records, place, replace(read, at_least=read.revision + 1))


def changed_digest(records: list[Record], dice: Random) -> Spoiled:
    digests: list[Any] = [each for each in records if type(each) is Digest]
    shared = [each for each in digests if sum(each.revision == other.revision for other in digests) > 1]
    if not shared:
        return None
    chosen = dice.choice(shared)
    return [replace(each, digest="0") if each is chosen else each for each in records]


def member_left_behind(records: list[Record], dice: Random) -> Spoiled:
    last: Any = [each for each in records if type(each) is Digest][-1]
    return [
        replace(each, revision=each.revision - 1, digest="0") if each is last else each for each in records
    ]


# --- search, transactions ---


def search_wrong_value(records: list[Record], dice: Random) -> Spoiled:
    """As :func:`wrong_value`, of a znode that the search judges."""
    judged = searches(records, 0)
    place = _pick(
        records,
        dice,
        Operation,
        lambda each: _got(each) and each.mode == "linearizable" and each.op.path in judged,
    )
    if place is None:
        return None
    read: Any = records[place]
    return _with(records, place, replace(read, result=replace(read.result, value=b"never")))


def _append_read(each: Operation) -> bool:
    return _got(each) and each.op.path.startswith("/append/") and isinstance(each.result, results.Znode)  # type: ignore[union-attr]


def phantom_element(records: list[Record], dice: Random) -> Spoiled:
    place = _pick(records, dice, Operation, _append_read)
    if place is None:
        return None
    read: Any = records[place]
    return _with(
        records, place, replace(read, result=replace(read.result, value=read.result.value + b" nobody"))
    )


def shuffled_list(records: list[Record], dice: Random) -> Spoiled:
    """Two readers see the first two elements in opposite orders."""
    read = [
        place for place, each in enumerate(records)
        if type(each) is Operation and _append_read(each) and len(each.result.value.split()) > 1  # type: ignore[union-attr]
    ]  # fmt: skip
    for place in read:
        each: Any = records[place]
        if any(other != place and records[other].op == each.op for other in read):  # type: ignore[union-attr]
            first, second, *rest = each.result.value.split()
            value = b" ".join((second, first, *rest))
            return _with(records, place, replace(each, result=replace(each.result, value=value)))
    return None


def aborted_append(records: list[Record], dice: Random) -> Spoiled:
    """A multi that was read from says that it was refused."""
    read = {
        element
        for each in records
        if type(each) is Operation and _append_read(each)
        for element in each.result.value.split()  # type: ignore[union-attr]
    }
    place = _pick(
        records, dice, Operation,
        lambda each: each.outcome == "ok" and isinstance(each.op, ops.Multi) and each.result.succeeded
        and any(isinstance(op, ops.Set) and op.path.startswith("/append/") and op.value.split()[-1] in read
                for op in each.op.then),
    )  # fmt: skip
    if place is None:
        return None
    multi: Any = records[place]
    return _with(records, place, replace(multi, outcome="refused", error="conflict", result=None))


FAULTS: dict[str, tuple[Callable[[list[Record], Random], Spoiled], str]] = {
    each.__name__: (each, promise)
    for promise, planted in {
        "linearizable": (stale_read, wrong_value, false_conflict, future_write, split_revision),
        "search": (search_wrong_value,),
        "exactly_once": (duplicated_apply, refused_but_done),
        "acknowledged": (lost_write, hole_in_the_log),
        "watches": (
            dropped_event, duplicated_event, reordered_events, half_a_revision, torn_revision,
            event_after_the_reply, silent_gap, foreign_event, watch_from_the_future,
        ),
        "sessions": (early_expiry, told_over_early, ephemeral_left, zombie_write, proof_of_the_dead),
        "causal": (wrong_local_value, at_least_not_reached),
        "convergence": (changed_digest, member_left_behind),
        "transactions": (phantom_element, shuffled_list, aborted_append),
    }.items()
    for each in planted
}  # fmt: skip
