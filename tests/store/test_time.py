"""TTL znodes and cluster time. The wall clock is carried, and decides nothing."""

from coord.api.commands import REQUESTS
from coord.api.events import Reason
from coord.api.ops import Create, Delete, Exists, Kind, Multi, Set
from coord.store.store import TTL_SWEEP, Store
from tests.store.machine import Machine, picture, reloaded


def ttl(path: str, ttl_ms: int = 100) -> Create:
    return Create(path, kind=Kind.TTL, ttl_ms=ttl_ms)


def test_a_ttl_znode_falls_due() -> None:
    machine = Machine()
    machine.do(ttl("/t"))
    assert machine.store.tree.next_due_ms == machine.now_ms + 100
    machine.pass_time(99)
    assert machine.paths() == ["/", "/t"]
    machine.pass_time(1)
    assert machine.paths() == ["/"]
    revision = machine.changes()[-1]
    assert [(change[1], change[4], change[6]) for change in revision[3]] == [("/t", 0, Reason.TTL)]
    machine.apply()
    assert machine.store.tree.next_due_ms is None


def test_a_set_starts_its_time_afresh() -> None:
    machine = Machine()
    machine.do(ttl("/t"))
    machine.pass_time(60)
    machine.do(Set("/t", b"again"))
    machine.pass_time(60)
    assert machine.paths() == ["/", "/t"]
    machine.pass_time(40)
    assert machine.paths() == ["/"]


def test_children_keep_it_and_their_going_starts_its_time_afresh() -> None:
    machine = Machine()
    machine.do(ttl("/t"))
    machine.do(Create("/t/x"))
    machine.pass_time(1000)
    assert "/t" in machine.paths()
    machine.pass_time(1000)
    machine.do(Delete("/t/x"))
    machine.pass_time(99)
    assert "/t" in machine.paths()
    machine.pass_time(1)
    assert machine.paths() == ["/"]


def test_a_ttl_child_and_its_ttl_parent() -> None:
    machine = Machine()
    machine.do(ttl("/t", 50))
    machine.do(ttl("/t/x", 50))
    machine.pass_time(50)
    assert machine.paths() == ["/", "/t"]  # its time begins as the child goes
    machine.pass_time(50)
    assert machine.paths() == ["/"]


def test_a_swept_znode_empties_its_container() -> None:
    machine = Machine()
    machine.do(Create("/c", kind=Kind.CONTAINER))
    machine.do(ttl("/c/t"))
    machine.pass_time(100)
    assert machine.paths() == ["/"]
    assert machine.changes()[-1][3][-1][6] == Reason.EMPTY


def test_the_wall_clock_decides_nothing() -> None:
    machine = Machine()
    machine.do(ttl("/t"))
    for wall_ms in (machine.wall_ms + 10**12, 0):
        machine.wall_ms = wall_ms
        machine.apply()
        assert machine.paths() == ["/", "/t"]


def test_cluster_time_does_not_go_back() -> None:
    """A new leader's clock begins anywhere; what it writes into the log can only be ignored or go on."""
    machine = Machine()
    machine.do(ttl("/t"))
    machine.pass_time(60)
    machine.pass_time(-1000)
    assert machine.store.time_ms == 1060
    machine.pass_time(1040)
    assert machine.paths() == ["/"]


def test_a_sweep_is_bounded_and_goes_on_in_the_next_entry() -> None:
    machine = Machine()
    count = TTL_SWEEP + 500
    machine.requests([(1, Multi(then=tuple(ttl(f"/t{number}") for number in range(count))))])
    machine.pass_time(100)
    assert len(machine.changes()[-1][3]) == TTL_SWEEP
    assert len(machine.paths()) == 501
    due_ms = machine.store.tree.next_due_ms
    assert due_ms is not None
    assert due_ms <= machine.now_ms  # the leader sees that more is to be done
    machine.apply()
    assert machine.paths() == ["/"]


def both(machine: Machine, copy: Store, advance_ms: int, *rows: list[object]) -> None:
    """The same entry for the replica that lived through it all, and for the one that loaded a snapshot."""
    machine.now_ms += advance_ms
    commands = [(REQUESTS, machine.session, 0, [list(row) for row in rows])] if rows else []
    index = machine.store.applied_index + 1
    for store in (machine.store, copy):
        store.apply(index, machine.now_ms, machine.wall_ms, commands)
    assert picture(machine.store) == picture(copy)


def test_a_replica_that_loaded_a_snapshot_sweeps_the_same() -> None:
    """Their heaps differ: one holds early entries (of sets, children, undone creates), the other true deadlines."""
    machine = Machine()
    machine.do(
        Multi(then=tuple(ttl(f"/t{number:04}", 100 + number % 7) for number in range(TTL_SWEEP + 200)))
    )
    machine.pass_time(50)
    machine.do(Multi(then=tuple(Set(f"/t{number:04}", b"later") for number in range(0, 1000, 3))))
    machine.do(Create("/t0001/child"))
    machine.refused(Multi(then=(ttl("/x", 1), Delete("/t0002"), Delete("/nope"))))
    machine.do(ttl("/u", 60))
    machine.do(Delete("/u"))
    machine.do(ttl("/u", 500))
    copy = reloaded(machine.store)
    assert picture(copy) == picture(machine.store)
    both(machine, copy, 50)
    both(machine, copy, 3, [50_001, Delete("/t0001/child").row()])
    for _ in range(6):
        both(machine, copy, 100)
    assert machine.paths() == ["/"]


def test_creating_and_deleting_in_a_loop_does_not_pile_up() -> None:
    machine = Machine()
    for _ in range(1000):
        machine.do(ttl("/t", 10**9))
        machine.do(Delete("/t"))
    assert len(machine.store.tree._ttl_heap) < 200
    machine.do(ttl("/t", 10))
    machine.pass_time(10)
    assert machine.read(Exists("/t")) is None
