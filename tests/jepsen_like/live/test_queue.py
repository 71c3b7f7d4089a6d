"""The live queue: its judges by hand-made logs, what is recorded of its clients, and a short run of real workers."""

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from coord.api.events import CLAIMED, CREATED, DELETED, HELD_BACK, RELEASED, Change, Reason
from coord.api.ops import Compare, Delete, List, Multi, Operator, Target
from coord.api.results import Child, MultiResult, Page
from coord.client import SessionEnded
from coord.jepsen_like.checkers.task_order import ORDER, check_no_task_starves, check_task_order
from coord.jepsen_like.checkers.tasks import check_tasks
from coord.jepsen_like.history import Committed, Operation, Record, SessionOver, load
from coord.jepsen_like.live.find import find_workload
from coord.jepsen_like.live.queue import READY, LiveQueue, check_drained, check_effects
from coord.jepsen_like.live.queue_worker import EFFECTS, PATHS
from coord.jepsen_like.live.recorded import recorded_client
from coord.jepsen_like.live.run import torture
from coord.jepsen_like.live.settings import Settings
from coord.jepsen_like.workloads.workload import Check, Process
from coord.recipes.queue.layout import task_id
from coord.recipes.queue.record import Ended, Outcome, TaskRecord, encode_ended, encode_task
from coord.testing import Cluster

IDS = [task_id(5, 1, n, bytes(6)) for n in range(3)]
LANE = (("c:lane", 1, 0, 1),)
CALLER, WORKER, OTHER = 1, 2, 3
"""Sessions."""


def path(n: int) -> str:
    return f"{READY}/{IDS[n]}"


def enqueued(n: int) -> Change:
    record = TaskRecord(1, "work", 0, lanes=LANE)
    return (CREATED, path(n), encode_task(record), 0, CALLER, n + 1, 0)


def claimed(n: int, session: int = WORKER) -> Change:
    return (CLAIMED, path(n), b"", 0, session, 100 + n, 0)


def ended(n: int, session: int, request: int, outcome: Outcome = "succeeded") -> tuple[Change, ...]:
    told = encode_ended(Ended(1, outcome, "work", 0, 0))
    return (
        (DELETED, path(n), None, 0, session, request, 0),
        (CREATED, PATHS.done(IDS[n]), told, 0, session, request, 0),
        (RELEASED, path(n), None, 2, session, 100 + n, int(Reason.ZNODE_DELETED)),
    )


def effect(n: int) -> Change:
    return (CREATED, f"{EFFECTS}/{IDS[n]}-0000000001", b"", 0, WORKER, 7, 0)


def log(*revisions: tuple[Change, ...]) -> list[Record]:
    return [Committed(number, number, changes, 0) for number, changes in enumerate(revisions, 1)]


def asked(n: int, token: int) -> Operation:
    """The request 7 of the worker: one that ends several tasks, each by a multi in it."""
    mine = Compare(Target.CLAIM_TOKEN, path(n), Operator.EQUAL, token)
    inner = Multi((mine,), (Delete(path(n)),), (Multi((mine,)),))
    return Operation(
        process=1, connection=1, member=1, session=WORKER, request=7, op=Multi((), (inner,)), mode="write", at_least=0,
        called_ns=0, returned_ns=1, outcome="ok", error="", revision=3, index=3, result=MultiResult(True, (), 3),
    )  # fmt: skip


def look(*left: str) -> Operation:
    page = Page(tuple(Child(each, None, None) for each in left), False, 0)
    return Operation(
        process=1, connection=1, member=1, session=1, request=0, op=List(READY), mode="linearizable", at_least=0,
        called_ns=0, returned_ns=1, outcome="ok", error="", revision=3, index=3, result=page,
    )  # fmt: skip


def plain(priority: int, n: int, *, seen: int = 1, kind: int = CREATED) -> Change:
    """Of a task without limits."""
    place = f"{READY}/{task_id(priority, seen, n, bytes(6))}"
    return (kind, place, encode_task(TaskRecord(1, "work", 0)), 0, CALLER, n + 1, 0)


def taken(priority: int, n: int, seen: int = 1) -> Change:
    _, place, *_ = plain(priority, n, seen=seen)
    return (CLAIMED, place, b"", 0, WORKER, 100 + n, 0)


def held_back(priority: int, n: int, ms: int) -> Change:
    _, place, *_ = plain(priority, n)
    return (HELD_BACK, place, None, ms, CALLER, n + 1, 0)


OVERTAKEN = ((plain(5, 0, seen=9),), *[(each,) for n in range(1, 60) for each in (plain(5, n), taken(5, n))])
"""By tasks whose enqueuer always has seen less than the one of the first."""

BEGUN = ((enqueued(0),), (claimed(0),))
GOOD = log(*BEGUN, (*ended(0, WORKER, 7), effect(0)), (enqueued(1),), (claimed(1),))


@pytest.mark.parametrize(
    "check", [check_tasks, check_task_order, check_no_task_starves, check_effects, check_drained]
)
def test_nothing_is_found_in_a_good_history(check: Check) -> None:
    assert check(GOOD) == []
    assert check([*GOOD, asked(0, 2), look()]) == []


@pytest.mark.parametrize(
    "history",
    [
        log((plain(5, 1), plain(0, 0)), (taken(0, 0),), (taken(5, 1),)),
        log((plain(5, 1), plain(0, 0), taken(5, 1))),  # those who stood in line are served as it was let go
        log((plain(0, 0), held_back(0, 0, 10)), (plain(5, 1),), (taken(5, 1),), (taken(0, 0),)),
        log(*OVERTAKEN[:90]),
    ],
)
def test_an_order_that_may_be_is_none_that_is_found(history: list[Record]) -> None:
    assert check_task_order(history) == check_no_task_starves(history) == []


def test_what_was_held_back_and_is_not_any_more_has_its_turn() -> None:
    again = log((plain(0, 0), held_back(0, 0, 10)), (held_back(0, 0, 0), plain(5, 1)), (taken(5, 1),))
    assert [each.promise for each in check_task_order(again)] == [ORDER]


@pytest.mark.parametrize(
    ("check", "records", "what"),
    [
        (check_tasks, log((enqueued(0), enqueued(1)), (claimed(0),), (claimed(1),)), "1 wide"),
        (check_tasks, log(*BEGUN, ended(0, OTHER, 9)), "by session 3"),
        (check_tasks, [*log(*BEGUN, ended(0, WORKER, 7)), asked(0, 1)], "with [1]"),
        (check_tasks, [*log(*BEGUN, ended(0, WORKER, 7)), asked(1, 2)], "with []"),
        (check_task_order, log((plain(5, 1),), (plain(0, 0),), (taken(5, 1),)), "comes before it"),
        (check_task_order, log((plain(5, 0),), (plain(5, 1),), (taken(5, 1),)), "comes before it"),
        (check_no_task_starves, log(*OVERTAKEN), "51 tasks were begun that came after"),
        (check_effects, log(*BEGUN, ended(0, WORKER, 7)), "effects are []"),
        (check_effects, log(*BEGUN, (effect(0),)), "succeeded"),
        (check_effects, log(*BEGUN, (*ended(0, WORKER, 7), effect(0), effect(0))), "succeeded"),
        (check_effects, log(*BEGUN, (*ended(0, WORKER, 7, "failed"), effect(0))), "succeeded"),
        (check_drained, [look(), look(IDS[0])], "1 tasks never ended"),
    ],
)
def test_what_must_not_be_is_found(check: Check, records: list[Record], what: str) -> None:
    [violation] = check(records)
    assert what in violation.what


def test_it_is_known_by_its_name() -> None:
    assert isinstance(find_workload("queue", 1), LiveQueue)


def test_it_is_not_let_loose_on_a_cluster_that_is_not_ours(tmp_path: Path) -> None:
    settings = Settings(workload="queue", nemeses=(), cluster=("127.0.0.1:1",), out=tmp_path)
    with pytest.raises(ValueError, match="coroutines"):
        torture(settings)
    assert not list(tmp_path.iterdir())


# --- what is recorded ---


def _numbers() -> Callable[[], int]:
    return iter(range(1, 100)).__next__


async def test_reads_that_are_asked_at_once_are_all_recorded(coord_member: Cluster) -> None:
    """A cache asks for all pages, and waits for one after the other: the last are answered before they are awaited."""
    records: list[Record] = []
    process = Process(1, Random(1))
    endpoints = ",".join(coord_member.endpoints)
    async with recorded_client(
        process, endpoints, records.append, _numbers(), session_timeout_ms=2_000, deadline_s=5
    ) as client:
        for n in range(5):
            await client.create(f"/a/b{n}/c", parents=True)
        async with client.cache("/a") as cache:
            assert cache.get("/a/b4/c") is not None
    reads = [each for each in records if isinstance(each, Operation) and each.mode != "write"]
    assert len(reads) > 5
    assert all(each.outcome == "ok" for each in reads)
    assert reads[-1].called_ns < (reads[-2].returned_ns or 0), "they were asked at once, and are told so"


async def test_an_end_by_the_clients_own_clock_is_not_the_members_word(coord_member: Cluster) -> None:
    records: list[Record] = []
    process = Process(1, Random(1))
    endpoints = ",".join(coord_member.endpoints)
    async with recorded_client(
        process, endpoints, records.append, _numbers(), session_timeout_ms=500, deadline_s=5
    ) as client:
        coord_member.kill(1)
        with pytest.raises(SessionEnded):
            await client.get("/", deadline=5)
    assert [each.by for each in records if isinstance(each, SessionOver)] == ["client"]


@pytest.mark.processes
def test_real_workers_in_a_short_run(tmp_path: Path) -> None:
    settings = Settings(
        workload="queue", nemeses=("kill-leader",), seconds=5, calm_s=1, clients=3, seed=1, out=tmp_path
    )
    report = torture(settings)
    assert report.ok, report.violations
    records = load((tmp_path / "history.jsonl").read_text().splitlines())
    done = [
        each
        for each in records
        if isinstance(each, Committed) and "/done/" in str(each.changes) and EFFECTS in str(each.changes)
    ]
    assert len(done) > 5
