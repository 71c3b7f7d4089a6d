"""TTL znodes and proofs of life, as the observer counts their time; and what it demands in peace."""

from dataclasses import replace

import pytest

from coord.api.commands import OPEN_SESSION, REQUESTS, Command
from coord.api.events import Reason
from coord.api.ops import Create, Delete, Kind, Op, Set
from coord.jepsen_like.history import SessionProof
from coord.jepsen_like.sim.run import simulate
from coord.jepsen_like.sim.simulation import Simulation
from coord.jepsen_like.sim.trace import Trace
from coord.jepsen_like.sim.world import World
from coord.replica.leases import Leases
from coord.replica.reads import ReadRounds, Waiting
from coord.store.store import Store
from coord.store.tree import Tree


class Watched:
    """A store, and the observer beside it."""

    def __init__(self) -> None:
        self.sim = Simulation(1, World(), Trace())
        self.store = Store()
        self.store.apply(1, 0, 0, [(OPEN_SESSION, 1, 1, 1, 5_000, b"", "", "")])
        self._request = 0

    def entry(self, time_ms: int, *ops: Op) -> None:
        commands: list[Command] = []
        for op in ops:
            self._request += 1
            commands.append((REQUESTS, 1, 0, [(self._request, op.row())]))
        self.store.apply(self.store.applied_index + 1, time_ms, 0, commands)
        for _, _, _, changes in self.store.take_fresh():
            self.sim.ageing.applied(self.store, changes)
        self.sim.ageing.after_entry(self.store)

    @property
    def broken(self) -> list[str]:
        return [violation.what for violation in self.sim.violations]


def test_a_ttl_znode_goes_when_it_was_not_touched_for_its_time() -> None:
    watched = Watched()
    watched.entry(0, Create("/t", b"", Kind.TTL, ttl_ms=100))
    watched.entry(90, Set("/t", b"2"))
    watched.entry(180, Create("/t/child"))
    watched.entry(900, Delete("/t/child"))
    watched.entry(990)
    watched.entry(1_000)
    assert "/t" not in watched.store.tree.znodes
    assert watched.sim.marks["ttl_swept"] == 1
    assert watched.broken == []


@pytest.mark.parametrize("early_ms", [1, 60])
def test_one_that_goes_too_early_is_seen(monkeypatch: pytest.MonkeyPatch, early_ms: int) -> None:
    watched = Watched()
    due = Tree.due
    monkeypatch.setattr(Tree, "due", lambda tree, now_ms, claimed: due(tree, now_ms + early_ms, claimed))
    watched.entry(0, Create("/t", b"", Kind.TTL, ttl_ms=100))
    watched.entry(99)
    assert watched.broken[0].startswith("/t went at 99, of 100 ms until 100, with 0 children")


def test_one_that_stays_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched()
    monkeypatch.setattr(Tree, "due", lambda tree, now_ms, claimed: [])
    watched.entry(0, Create("/t", b"", Kind.TTL, ttl_ms=100))
    watched.entry(99)
    assert watched.broken == []
    watched.entry(100)
    assert watched.broken[0].startswith("/t was due at 100, and is there at 100")


QUIET = World(workload="register", clients=3, think_ms=50, safety_ms=4_000, session_timeout_ms=1_000)


def test_sessions_that_nobody_ends_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert simulate(1, QUIET).ok
    monkeypatch.setattr(Leases, "take_overdue", lambda leases, timeouts_ms: [])
    violations = simulate(1, QUIET).violations
    assert "has been silent" in violations[0].what


@pytest.mark.parametrize(("asked_later_ns", "told"), [(-1, False), (1, True)])
def test_a_proof_of_a_session_that_is_over_is_seen(asked_later_ns: int, told: bool) -> None:
    """Who asked before may have been answered before, and hear of it late."""
    sim = Simulation(1, World(), Trace())
    now_ns = sim.agenda.now_ns
    sim.proofs.ended(7, Reason.SESSION_ENDED)
    sim.record(SessionProof(1, 7, 1, now_ns + asked_later_ns, now_ns + 10, now_ns + 1_000))
    assert ["told that it lives" in violation.what for violation in sim.violations] == [True] * told


@pytest.mark.parametrize("proof_first", [True, False])
def test_an_expiry_while_a_client_is_sure_is_seen(proof_first: bool) -> None:
    sim = Simulation(1, World(), Trace())
    now_ns = sim.agenda.now_ns
    proof = SessionProof(1, 7, 1, now_ns - 1_000_000, now_ns, now_ns + 5_000_000)
    if proof_first:
        sim.record(proof)
    sim.proofs.ended(7, Reason.SESSION_EXPIRED)
    if not proof_first:
        sim.record(proof)
    [violation] = sim.violations
    assert violation.what.startswith("session 7 expired 5 ms before its client ceased to be sure of it")


def test_a_read_that_is_never_answered_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its client has given up long since, and asked others."""
    take_due, lost = ReadRounds.take_due, []

    def forgetful(rounds: ReadRounds, applied_index: int) -> list[Waiting]:
        due = take_due(rounds, applied_index)
        lost.extend(due[1::2])
        return due[::2]

    world = replace(QUIET, voters=1, deadline_ms=20_000)
    assert simulate(1, world).ok
    monkeypatch.setattr(ReadRounds, "take_due", forgetful)
    violations = simulate(1, world).violations
    assert lost
    assert "requests of process" in violations[0].what
