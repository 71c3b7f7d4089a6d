"""Each workload's own check: nothing is found in a good history, and what was planted is."""

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from coord.api.ops import Create, Delete, Multi, Set
from coord.api.results import Child, Created, MultiResult, Page, Znode
from coord.jepsen_like.checkers.tasks import check_tasks
from coord.jepsen_like.checkers.violation import Violation
from coord.jepsen_like.history import Committed, Note, Operation, WatchTold
from coord.jepsen_like.workloads import WORKLOADS
from coord.jepsen_like.workloads.append import check_append
from coord.jepsen_like.workloads.conversation import check_conversation
from coord.jepsen_like.workloads.counter import check_counter
from coord.jepsen_like.workloads.elections import check_observed
from coord.jepsen_like.workloads.exactly_once import check_exactly_once
from coord.jepsen_like.workloads.fences import check_tokens_grow
from coord.jepsen_like.workloads.sets import check_sets
from coord.jepsen_like.workloads.shards import check_shares
from coord.jepsen_like.workloads.ticks import check_ticks
from coord.jepsen_like.workloads.unique import check_unique
from coord.jepsen_like.workloads.watching import check_copies
from coord.jepsen_like.workloads.workload import Check
from tests.jepsen_like.workloads.world import World

History = list[Any]
Plant = Callable[[History], History]

_histories: dict[str, History] = {}


def good(name: str) -> History:
    if name not in _histories:
        world = World(seed=5)
        world.run_workload(WORKLOADS[name](Random(5)), 4, 250)
        _histories[name] = world.whole_history()
    return list(_histories[name])


def position(records: History, wanted: Callable[[Any], Any], last: bool = True) -> int:
    """Of the last (or first) operation that is ``wanted``."""
    found = [at for at, each in enumerate(records) if isinstance(each, Operation) and wanted(each)]
    return found[-1 if last else 0]


def changed(records: History, at: int, **values: Any) -> History:
    records[at] = replace(records[at], **values)
    return records


# --- counter ---


def an_increment_is_lost(records: History) -> History:
    at = position(records, lambda each: isinstance(each.result, Znode))
    znode = records[at].result
    return changed(records, at, result=replace(znode, value=b"%d" % (int(znode.value) - 1)))


def an_increment_is_applied_twice(records: History) -> History:
    at = position(records, lambda each: isinstance(each.result, Znode))
    znode = records[at].result
    return changed(records, at, result=replace(znode, value=b"%d" % (int(znode.value) + 100)))


def two_increments_make_one_value(records: History) -> History:
    """From the same version: the condition did not hold for one of them."""
    at = position(records, lambda each: isinstance(each.op, Set) and each.outcome == "ok")
    return [*records, replace(records[at], process=9)]


# --- sets ---


def _page(records: History) -> tuple[int, Page]:
    at = position(
        records,
        lambda each: isinstance(each.result, Page) and each.op.path != "/sets" and each.result.children,
    )
    return at, records[at].result


def an_element_is_lost(records: History) -> History:
    at, page = _page(records)
    return changed(records, at, result=replace(page, children=page.children[1:]))


def an_element_comes_from_nowhere(records: History) -> History:
    at, page = _page(records)
    return changed(records, at, result=replace(page, children=(*page.children, Child("nobody", None, None))))


def a_refused_element_is_there(records: History) -> History:
    at, page = _page(records)
    path = f"{records[at].op.path}/{page.children[0].name}"
    add = position(records, lambda each: isinstance(each.op, Create) and each.op.path == path)
    return changed(records, add, outcome="refused", error="conflict")


def an_element_of_the_value_is_lost(records: History) -> History:
    at = position(records, lambda each: isinstance(each.result, Znode))
    znode = records[at].result
    return changed(records, at, result=replace(znode, value=znode.value.split(b" ", 2)[2]))


# --- append ---


def _list(records: History) -> tuple[int, Znode]:
    at = position(records, lambda each: isinstance(each.result, Znode) and each.result.value.count(b" ") > 1)
    return at, records[at].result


def two_lists_contradict_each_other(records: History) -> History:
    at, znode = _list(records)
    value = b" ".join(reversed(znode.value.split()))
    return changed(records, at, result=replace(znode, value=value))


def an_element_stands_twice(records: History) -> History:
    at, znode = _list(records)
    return changed(records, at, result=replace(znode, value=znode.value + b" " + znode.value.split()[0]))


def an_append_is_lost(records: History) -> History:
    at, znode = _list(records)
    return changed(
        records, at, result=replace(znode, value=znode.value.rpartition(b" ")[0]), called_ns=10**18
    )


def a_refused_append_is_there(records: History) -> History:
    at = position(
        records,
        lambda each: isinstance(each.op, Multi) and isinstance(each.result, MultiResult) and each.result.succeeded
        and any(isinstance(op, Set) for op in each.op.then),
        last=False,
    )  # fmt: skip
    return changed(records, at, outcome="refused", result=None)


# --- unique ---


def _two_creates(records: History) -> tuple[int, int]:
    """The second was asked for after the first was answered."""
    second = position(records, lambda each: isinstance(each.result, Created) and each.op.sequential)
    called_ns = records[second].called_ns
    first = position(
        records,
        lambda each: isinstance(each.result, Created) and each.op.sequential and each.returned_ns < called_ns,
    )
    return first, second


def a_number_is_given_twice(records: History) -> History:
    first, second = _two_creates(records)
    return changed(records, second, result=records[first].result)


def a_later_number_is_lower(records: History) -> History:
    first, second = _two_creates(records)
    one, other = records[first].result, records[second].result
    return changed(changed(records, first, result=other), second, result=one)


# --- exactly once ---


def _error(error: str, kind: type[Any], below: str) -> Plant:
    def plant(records: History) -> History:
        at = position(records, lambda each: isinstance(each.op, kind) and each.op.path.startswith(below))
        return changed(records, at, outcome="refused", error=error, result=None)

    plant.__name__ = f"a_{kind.__name__.lower()}_meets_itself"
    return plant


def _queue(records: History) -> tuple[int, Page]:
    at = position(
        records, lambda each: isinstance(each.result, Page) and each.op.values and each.result.children
    )
    return at, records[at].result


def a_create_is_applied_twice(records: History) -> History:
    at, page = _queue(records)
    again = replace(page.children[0], name="9999999999")
    return changed(records, at, result=replace(page, children=(*page.children, again)))


def an_acknowledged_create_is_gone(records: History) -> History:
    at, page = _queue(records)
    created = {
        each.result.path
        for each in records
        if isinstance(each, Operation) and isinstance(each.result, Created)
    }
    path = records[at].op.path
    gone = next(child for child in page.children if f"{path}/{child.name}" in created)
    return changed(
        records, at, result=replace(page, children=tuple(each for each in page.children if each != gone))
    )


# --- watching ---


def _told(records: History) -> tuple[int, WatchTold]:
    """Of the last change that a listing follows: the one that ``finish`` makes."""
    return [
        (at, each)
        for at, each in enumerate(records)
        if isinstance(each, WatchTold) and each.changes[0][1] == "/watching/last"
    ][-1]


def an_event_is_not_told(records: History) -> History:
    at, _ = _told(records)
    return [*records[:at], *records[at + 1 :]]


def an_event_tells_another_value(records: History) -> History:
    at, told = _told(records)
    (kind, path, _, *rest), *others = told.changes
    return changed(records, at, changes=((kind, path, b"something else", *rest), *others))


# --- fences ---


def an_old_holder_writes_late(records: History) -> History:
    """A read, after all others, shows a value of an older token."""
    at = position(records, lambda each: isinstance(each.result, Znode))
    late = replace(
        records[at], called_ns=records[at].returned_ns + 1, returned_ns=records[at].returned_ns + 2
    )
    return [*records, replace(late, result=replace(late.result, value=b"0 late"))]


# --- what recipes ask for ---


def said(records: History, what: str, **facts: Any) -> int:
    """The last note that says so, with these facts."""
    found = [
        at
        for at, each in enumerate(records)
        if isinstance(each, Note) and each.what == what and facts.items() <= each.facts.items()
    ]
    return found[-1]


def a_former_leader_is_told_after_a_later(records: History) -> History:
    note = records[said(records, "leader")]
    later = replace(note, facts={"revision": 1 << 40, "token": 1 << 40})
    return [*records, later, replace(note, facts={"revision": (1 << 40) + 1, "token": 1})]


def an_observer_tells_nobody_where_one_leads(records: History) -> History:
    at = next(at for at, each in enumerate(records) if isinstance(each, Note) and each.facts.get("token"))
    leads = records[at].facts["token"]
    return changed(records, at, facts={"revision": leads, "token": 0})


def a_partition_falls_to_two(records: History) -> History:
    """Another member has listed the same, and reckons the same partition its own."""
    shares = [each for each in records if isinstance(each, Note) and each.facts.get("numbers")]
    share = next(each for each in shares if len(each.facts["names"]) > 1)
    other = next(name for name in share.facts["names"] if name != share.facts["name"])
    return [*records, share, replace(share, facts={**share.facts, "name": other})]


def a_partition_falls_to_none(records: History) -> History:
    at = next(
        at for at, each in enumerate(records) if isinstance(each, Note) and len(each.facts["names"]) == 1
    )
    facts = records[at].facts
    lone = {**facts, "name": "lone", "names": ["lone"], "numbers": facts["numbers"][:-1]}
    return [*records, replace(records[at], facts=lone)]


def a_tick_is_begun_twice(records: History) -> History:
    return [*records, records[said(records, "tick")]]


def a_former_leader_begins_a_later_tick(records: History) -> History:
    note = records[said(records, "tick")]
    return [*records, replace(note, facts={"number": note.facts["number"] + 100, "token": 1})]


# --- the talk ---


def a_client_is_told_that_it_broke_the_protocol(records: History) -> History:
    return [*records, Note(1, "client_failed", {"error": "protocol_error", "message": "a second hello"}, 0)]


def a_client_does_not_understand(records: History) -> History:
    return [*records, Note(1, "client_distrusts", {"message": "no frame"}, 0)]


def a_task_is_gone_without_its_end(records: History) -> History:
    return [
        replace(each, changes=tuple([change for change in each.changes if "/done/" not in change[1]]))
        if type(each) is Committed
        else each
        for each in records
    ]


def a_task_ends_twice(records: History) -> History:
    ended = [
        change
        for each in records
        if type(each) is Committed
        for change in each.changes
        if "/default/done/" in change[1]
    ]
    last = max(each.revision for each in records if type(each) is Committed)
    return [*records, Committed(last + 1, 1 << 40, (ended[0],), 0)]


PLANTS: list[tuple[str, Check, Plant]] = [
    ("counter", check_counter, an_increment_is_lost),
    ("counter", check_counter, an_increment_is_applied_twice),
    ("counter", check_counter, two_increments_make_one_value),
    ("sets", check_sets, an_element_is_lost),
    ("sets", check_sets, an_element_comes_from_nowhere),
    ("sets", check_sets, a_refused_element_is_there),
    ("sets", check_sets, an_element_of_the_value_is_lost),
    ("append", check_append, two_lists_contradict_each_other),
    ("append", check_append, an_element_stands_twice),
    ("append", check_append, an_append_is_lost),
    ("append", check_append, a_refused_append_is_there),
    ("unique", check_unique, a_number_is_given_twice),
    ("unique", check_unique, a_later_number_is_lower),
    ("exactly_once", check_exactly_once, _error("exists", Create, "/exactly_once/names/")),
    ("exactly_once", check_exactly_once, _error("not_found", Delete, "/exactly_once/names/")),
    ("exactly_once", check_exactly_once, _error("conflict", Set, "/exactly_once/own/")),
    ("exactly_once", check_exactly_once, a_create_is_applied_twice),
    ("exactly_once", check_exactly_once, an_acknowledged_create_is_gone),
    ("watching", check_copies, an_event_is_not_told),
    ("watching", check_copies, an_event_tells_another_value),
    ("fences", check_tokens_grow, an_old_holder_writes_late),
    ("elections", check_observed, a_former_leader_is_told_after_a_later),
    ("elections", check_observed, an_observer_tells_nobody_where_one_leads),
    ("shards", check_shares, a_partition_falls_to_two),
    ("shards", check_shares, a_partition_falls_to_none),
    ("ticks", check_ticks, a_tick_is_begun_twice),
    ("ticks", check_ticks, a_former_leader_begins_a_later_tick),
    ("tasks", check_tasks, a_task_is_gone_without_its_end),
    ("tasks", check_tasks, a_task_ends_twice),
    ("counter", check_conversation, a_client_is_told_that_it_broke_the_protocol),
    ("counter", check_conversation, a_client_does_not_understand),
]


@pytest.mark.parametrize(("name", "check", "plant"), PLANTS, ids=[plant.__name__ for _, _, plant in PLANTS])
def test_what_was_planted_is_found(name: str, check: Check, plant: Plant) -> None:
    assert check(good(name)) == []
    bad = plant(good(name))
    found = check(bad)
    assert found
    for violation in found:
        assert isinstance(violation, Violation)
        assert violation.records
        assert all(0 <= at < len(bad) for at in violation.records)
        assert str(violation).startswith(f"{violation.promise}: ")


def test_a_refusal_for_a_limit_is_no_broken_protocol() -> None:
    assert (
        check_conversation([Note(1, "client_failed", {"error": "limit_exceeded", "message": "full"}, 0)])
        == []
    )
    assert check_conversation([Note(1, "something else", {}, 0)]) == []
