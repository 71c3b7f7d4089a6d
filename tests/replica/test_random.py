"""Seeded random runs: safety while everything may break, and then liveness once it no longer does.

A red run is repeated with ``run(seed)``.
"""

import random

import pytest

from coord.api.events import CLAIMED, CONFIGURED, DELETED, QUEUED, RELEASED, WITHDRAWN, Change, Reason
from coord.raft.settings import RaftSettings
from coord.replica.settings import ReplicaSettings
from coord.store import granting
from tests.replica.actors import Actor, Facts
from tests.replica.cluster import TICK_MS, Cluster
from tests.store.machine import picture

SEEDS = 75  # the simulator goes on from here, with disks and clocks: jepsen_like/sim
BATCH = 15
FAULT_TICKS = 150
HEALING_TICKS = 600


def run(seed: int, claims: bool = False) -> Facts:
    dice, parts = random.Random(seed), random.Random(f"parts {seed}")
    settings = ReplicaSettings(
        tick_ms=TICK_MS,
        raft=RaftSettings(election_ticks=10, heartbeat_ticks=2, max_inflight_appends=dice.choice((1, 4, 64))),
        snapshot_entries=dice.choice((8, 30, 10_000)),
        snapshot_section_bytes=dice.choice((200, 100_000)),
        catch_up_bytes=dice.choice((1, 500)),
        entry_bytes=dice.choice((100, 500_000)),
        resend_ticks=25,
        replay_revisions=dice.choice((2, 512)),
        step_work_us=parts.choice((1, 60, 10_000)),
        transit_work_us=parts.choice((1, 50, 100_000)),
    )
    cluster = Cluster(size=dice.choice((1, 3, 3, 3, 5)), settings=settings, seed=seed + 1)
    loss, repeats = dice.choice((0.0, 0.02, 0.15)), dice.choice((0.0, 0.1))
    slowest_ms = dice.choice((0, 30, 120))
    crashes, cuts, pauses, stalls = (dice.choice((0.0, 0.01, 0.04)) for _ in range(4))

    def delays(sender: int, to: int) -> list[int]:
        if dice.random() < loss:
            return []
        return [dice.randint(0, slowest_ms) for _ in range(2 if dice.random() < repeats else 1)]

    cluster.delays = delays
    facts = Facts()
    actors = [Actor(cluster, facts, seed * 10 + number, claims) for number in range(3)]

    for _ in range(FAULT_TICKS):
        for actor in actors:
            actor.act()
        for number, member in cluster.members.items():
            if not cluster.up(number):
                if dice.random() < 0.1:
                    cluster.start(number)
                continue
            if dice.random() < crashes:
                cluster.crash(number, written=dice.randrange(3))
                continue
            if dice.random() < pauses or member.paused:
                member.paused = dice.random() < 0.9
            if dice.random() < stalls or member.disk_held:
                member.disk_held = dice.random() < 0.8
        if dice.random() < cuts:
            if dice.random() < 0.5:
                cluster.isolate(dice.choice(list(cluster.members)))
            else:
                cluster.cut[(dice.choice(list(cluster.members)), dice.choice(list(cluster.members)))] = None
        if cluster.cut and dice.random() < 0.05:
            cluster.heal()
        cluster.tick()

    # Now everything works: whatever is pending must come to its end, and all must agree.
    cluster.delays = None
    cluster.heal()
    for number, member in cluster.members.items():
        member.paused = member.disk_held = False
        if not cluster.up(number):
            cluster.start(number)
    for actor in actors:
        actor.active = False
    done = False
    for _ in range(HEALING_TICKS):
        cluster.tick()
        for actor in actors:
            actor.act()
        stores = [member.store for member in cluster.members.values()]
        done = (
            cluster.leader() != 0
            and not any(
                actor.unanswered or actor.client is None or actor.client.welcome is None for actor in actors
            )
            and len({store.applied_index for store in stores}) == 1
            and all(actor.told_revision == stores[0].revision for actor in actors)
        )
        if done:
            break
    assert done, f"seed {seed}: not live {HEALING_TICKS} ticks after everything was repaired"

    pictures = [picture(member.store) for member in cluster.members.values()]
    assert all(each == pictures[0] for each in pictures), f"seed {seed}: members differ"
    check_history(cluster, facts)
    check_claims(cluster, facts)
    return facts


def check_history(cluster: Cluster, facts: Facts) -> None:
    """Exactly once, in each session's order, and every acknowledgement true."""
    applied: dict[tuple[int, int], int] = {}
    last: dict[int, int] = {}
    assert sorted(cluster.revisions) == list(range(1, len(cluster.revisions) + 1))
    for number in sorted(cluster.revisions):
        changes = cluster.revisions[number][3]
        by = {(change[4], change[5]) for change in changes if change[5] and not of_a_claim(change)}
        assert len(by) <= 1
        for session, request in by:
            assert (session, request) not in applied, "applied twice"
            applied[(session, request)] = number
            assert request > last.get(session, 0), "out of its session's order"
            last[session] = request
        ended = {
            change[4] for change in changes if change[6] in (Reason.SESSION_ENDED, Reason.SESSION_EXPIRED)
        }
        assert len(ended) <= 1
        for session in ended:
            last[session] = 2**63  # nothing of it after its end
    for (session, request), (status, revision) in facts.written.items():
        if status == 0:
            made = applied.get((session, request))
            if made is None:  # by its revision only: changes of claims tell the claim's number
                made = (
                    revision if any(map(of_a_claim, cluster.revisions.get(revision, (0, 0, 0, ()))[3])) else 0
                )
            assert made == revision, "acknowledged, and not there"
        else:
            assert (session, request) not in applied, "refused, and applied all the same"


def of_a_claim(change: Change) -> bool:
    return DELETED < change[0] < CONFIGURED


def check_claims(cluster: Cluster, facts: Facts) -> None:
    """What a claim tells of itself is one life; who holds alone holds alone; who waited longer was granted before."""
    waiting: dict[int, str] = {}
    held: dict[int, tuple[str, int]] = {}
    ended: dict[int, None] = {}
    last_token: dict[str, int] = {}
    for revision in sorted(cluster.revisions):
        changes = cluster.revisions[revision][3]
        for kind, path, _, token, session, number, reason in filter(of_a_claim, changes):
            assert session not in ended, "a claim of an ended session"
            if kind == QUEUED:
                waiting[number] = path
            elif kind == WITHDRAWN:
                assert waiting.pop(number) == path
            elif kind == CLAIMED:
                assert number not in held
                assert revision >= last_token.get(path, 0)
                last_token[path] = revision
                at = waiting.pop(number, path)
                earlier = [each for each, where in waiting.items() if where == at and each < number]
                assert not earlier or reason == Reason.TRANSFERRED, "somebody was overtaken"
                held[number] = (path, revision)
                facts.granted += 1
            else:
                assert kind == RELEASED
                assert held.pop(number) == (path, token), (
                    "released with another token than it was granted with"
                )
        ended.update(
            (change[4], None)
            for change in changes
            if change[6] in (Reason.SESSION_ENDED, Reason.SESSION_EXPIRED)
        )
    store = cluster.members[1].store
    assert held == {each[0]: (each[1], each[7]) for each in store.claims.by_number.values() if each[7]}
    assert waiting == {each[0]: each[1] for each in store.claims.by_number.values() if not each[7]}


@pytest.mark.parametrize("first", range(0, 30, BATCH))
def test_random_runs_with_claims(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The members' stores are compared at the end, tables of claims and all: alike, however each came to its own."""
    monkeypatch.setattr(granting, "GRANTS_MAX", 2)
    granted = ended = 0
    for seed in range(first, first + BATCH):
        facts = run(seed, claims=True)
        granted += facts.granted
        ended += facts.ended
    assert granted > 100
    assert ended > 0


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_random_runs(first: int) -> None:
    total = Facts()
    for seed in range(first, first + BATCH):
        facts = run(seed)
        total.written.update(facts.written)
        total.reads += facts.reads
        total.moved += facts.moved
        total.ended += facts.ended
    assert len(total.written) > 100  # the runs do something
    assert total.reads > 100
    assert total.moved > 10
    assert total.ended > 0
