"""Whole runs: some seeds, the same trace everywhere, and a simulator that finds what is broken on purpose."""

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from coord.disk import wal
from coord.disk.filesystem import File
from coord.disk.snapshot import SnapshotStore
from coord.jepsen_like.history import Committed, Digest, Fault, Leader, Operation, of
from coord.jepsen_like.sim.disk import SimDisk
from coord.jepsen_like.sim.kinds import ELECTIONS, Narrow, claims, elections, late, pauses, power, stalls
from coord.jepsen_like.sim.life import shuffled_by_source
from coord.jepsen_like.sim.regressions import Regression, regressions
from coord.jepsen_like.sim.run import simulate
from coord.jepsen_like.sim.shrink import shrink
from coord.jepsen_like.sim.world import World, draw
from coord.raft import quorum, replication
from coord.raft.commitment import commit_to
from coord.raft.raft import Raft
from coord.raft.state import RaftState
from coord.replica.inputs import Backlog, ClientLost, Input, PeerLost, Persisted
from coord.store.claims import Claims

SMALL = World(workload="register", clients=2, think_ms=50, safety_ms=2_000, fault_every_ms=300)


@pytest.mark.parametrize("seed", [1, 3, 4])  # `make test` goes on with some hundreds
def test_seeds(seed: int) -> None:
    verdict = simulate(seed, replace(draw(seed), safety_ms=2_000))
    assert verdict.ok, verdict.violations


@pytest.mark.parametrize("regression", regressions(), ids=lambda each: str(each.seed))
def test_regressions(regression: Regression) -> None:
    verdict = simulate(regression.seed, regression.world)
    assert verdict.ok, verdict.violations


def test_a_run_tells_what_happened() -> None:
    world = replace(SMALL, faults=(("kill", 1.0), ("cut", 1.0)), snapshot_entries=10)
    verdict = simulate(5, world)
    assert verdict.ok, verdict.violations
    assert verdict.operations == len(of(Operation, verdict.history)) > 10
    begun = [fault for fault in of(Fault, verdict.history) if fault.phase != "end"]
    assert sum(verdict.faults.values()) == len(begun) > 2
    assert of(Committed, verdict.history)
    assert of(Digest, verdict.history)
    assert of(Leader, verdict.history)
    assert verdict.marks["snapshot_saved"]
    assert verdict.marks["election_won"]


def test_the_trace_is_the_same_in_every_process_and_another_for_another_seed() -> None:
    def run(seed: int, hash_seed: str) -> str:
        command = [sys.executable, "-m", "coord.jepsen_like", "sim", "--seed", str(seed), "--json"]
        command += ["--set", "safety_ms=1000"]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        row = json.loads(done.stdout)
        assert row["ok"]
        return str(row["trace"])

    here = simulate(4, replace(draw(4), safety_ms=1_000)).trace_hash
    assert {run(4, "1"), run(4, "77")} == {here}
    assert simulate(5, replace(draw(5), safety_ms=1_000)).trace_hash != here


def broken_promises(world: World, seeds: int) -> Counter[str]:
    """The promises that are broken by the first seed that breaks any."""
    for seed in range(seeds):
        verdict = simulate(seed, world)
        if not verdict.ok:
            return Counter(violation.promise for violation in verdict.violations)
    return Counter()


def test_a_majority_that_is_none_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quorum, "majority", lambda count: max(1, count // 2))
    assert broken_promises(SMALL, 3)


def test_a_log_that_is_not_synced_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Unsynced:
        def __init__(self, file: object) -> None:
            self._file = file

        def __getattr__(self, name: str) -> object:
            return (lambda: None) if name == "sync" else getattr(self._file, name)

    append = wal.Wal.append

    def unsynced(self: wal.Wal, persist: object) -> None:
        file, self._file = self._file, Unsynced(self._file)  # type: ignore[assignment]
        try:
            append(self, persist)  # type: ignore[arg-type]
        finally:
            if isinstance(self._file, Unsynced):
                self._file = file

    monkeypatch.setattr(wal.Wal, "append", unsynced)
    assert broken_promises(replace(SMALL, faults=(("power_cut", 1.0),)), 5)


def test_a_forgotten_vote_is_found_by_a_death_right_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = Raft.__init__

    def forgetful(self: Raft, *args: object, **more: object) -> None:
        begin(self, *args, **more)  # type: ignore[arg-type]
        self._state.vote = 0

    monkeypatch.setattr(Raft, "__init__", forgetful)
    world = replace(
        SMALL,
        tick_ms=30,
        election_ticks=3,
        heartbeat_ticks=1,
        streams=False,
        delay_max_us=30_000,
        spikes=0.1,
        spike_max_us=100_000,
        down_ms=10,
        think_ms=400,
        safety_ms=15_000,
        triggers=ELECTIONS[0],
    )
    assert broken_promises(world, 10)


def test_a_commit_by_an_older_term_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def by_counting(state: RaftState) -> bool:
        index = quorum.greatest_reached(state.configuration, state.acknowledged)
        if index <= state.commit_index:
            return False
        commit_to(state, index)
        return True

    monkeypatch.setattr(replication, "advance_commit", by_counting)
    assert "commit" in broken_promises_of(elections, 10)


def test_a_snapshot_whose_name_is_not_synced_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    publish = SnapshotStore.publish

    def unsynced(self: SnapshotStore, aside: str, file: File, contents: Any) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(SimDisk, "sync_directory", lambda _: None)
            publish(self, aside, file, contents)

    monkeypatch.setattr(SnapshotStore, "publish", unsynced)
    assert "durability" in broken_promises_of(power, 40)


def broken_promises_of(kind: Narrow, seeds: int) -> Counter[str]:
    """The same, in worlds of one kind."""
    for seed in range(seeds):
        verdict = simulate(seed, kind(draw(seed), Random(seed)))
        if not verdict.ok:
            return Counter(violation.promise for violation in verdict.violations)
    return Counter()


@pytest.mark.parametrize("kind", [elections, pauses, late, power, claims, stalls])
def test_worlds_of_each_kind(kind: Narrow) -> None:
    verdict = simulate(3, replace(kind(draw(3), Random(3)), safety_ms=3_000))
    assert verdict.ok, verdict.violations
    assert verdict.operations


@pytest.mark.parametrize(("event", "action"), [("read_asked", "stall"), ("forwarded", "strand")])
@pytest.mark.parametrize("streams", [True, False])
def test_what_is_held_up_arrives_in_the_end(event: str, action: str, streams: bool) -> None:
    triggers = ((event, action, 1.0),)
    verdict = simulate(1, replace(SMALL, voters=3, round_ticks=2, streams=streams, triggers=triggers))
    assert verdict.ok, verdict.violations
    told = [fault for fault in of(Fault, verdict.history) if fault.fault == "stall"]
    begun = [fault.members for fault in told if fault.phase == "begin"]
    assert begun
    assert [fault.members for fault in told if fault.phase == "end"] == begun[: len(told) - len(begun)]


def test_what_happens_to_claims_is_seen_and_struck_at() -> None:
    """One revision grants one claim at the most here, and holders are frozen as they are granted something."""
    world = replace(
        SMALL, workload="claims", clients=5, think_ms=20, safety_ms=6_000, session_timeout_ms=1_000, grants_max=1,
        triggers=(("claim_granted_at_holder", "freeze", 0.2), ("claim_queued", "kill", 0.1)),
    )  # fmt: skip
    wanted = {"claim_granted", "claim_queued", "holder_expired", "freeze_client", "kill"}
    for seed in (1, 2, 3):
        verdict = simulate(seed, world)
        assert verdict.ok, verdict.violations
        wanted -= {name for name, count in (verdict.marks | verdict.faults).items() if count}
        if not wanted:
            return
    raise AssertionError(f"never seen: {wanted}")


def test_a_claim_that_is_granted_out_of_turn_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def barging(claims: Claims, path: str, units: int, shared: int) -> bool:
        return claims.fits(path, units, shared)

    monkeypatch.setattr(Claims, "is_free", barging)
    world = replace(SMALL, workload="claims", clients=5, safety_ms=6_000)
    found = (each.promise for seed in (1, 2, 3) for each in simulate(seed, world).violations)
    assert "first come, first served" in found  # by the first seed that finds it


def test_power_fails_between_operations_of_a_disk() -> None:
    world = replace(SMALL, snapshot_entries=3, triggers=(("disk_rename", "power_cut", 0.5),))
    verdict = simulate(2, world)
    assert verdict.ok, verdict.violations
    cuts = [fault for fault in of(Fault, verdict.history) if fault.what == "at rename"]
    assert len(cuts) == verdict.faults["power_cut"] > 0
    assert verdict.marks["died: in the middle of its work"]


def test_what_waited_is_read_one_connection_after_another() -> None:
    waiting: list[Input] = [
        PeerLost(2), ClientLost(7), PeerLost(3), Backlog(8, True), Persisted(11), Backlog(8, False), Persisted(12),
    ]  # fmt: skip
    orders = set()
    for seed in range(50):
        shuffled = shuffled_by_source(waiting, Random(seed))
        assert sorted(map(repr, shuffled)) == sorted(map(repr, waiting))
        assert shuffled.index(Backlog(8, True)) + 1 == shuffled.index(Backlog(8, False))
        assert shuffled.index(Persisted(11)) + 1 == shuffled.index(Persisted(12))
        orders.add(repr(shuffled))
    assert len(orders) > 10


def test_what_fails_is_made_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quorum, "majority", lambda count: max(1, count // 2))
    world = replace(SMALL, voters=5, faults=(("kill", 1.0), ("cut", 1.0)), loss=0.01)
    said: list[str] = []
    shrunk = shrink(0, world, 25, said.append)
    assert shrunk is not None
    assert not shrunk.verdict.ok
    assert shrunk.world.voters == 3
    assert not shrunk.world.loss
    assert said


def test_what_does_not_fail_is_not_shrunk() -> None:
    assert shrink(0, replace(SMALL, safety_ms=500), 5, lambda _: None) is None
