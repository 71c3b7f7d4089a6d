"""A world: everything that is drawn from a seed before anything happens. Printed, overridden and shrunk as a value.

Swarm testing (Groce et al., ISSTA 2012): each seed also draws which faults there are and how often, and how large
everything is. Much of what guards a member is luck (batches hide what single entries show, quick disks hide what slow
ones do), so each such luck has a field that turns it off.
"""

from ast import literal_eval
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from random import Random
from typing import Any

from coord.jepsen_like.sim.kinds import (
    narrowed,
    with_claims,
    with_company,
    with_crumbs,
    with_parts,
    with_recipes,
    with_reports,
    with_stalls,
    with_transit,
    with_trees,
)
from coord.jepsen_like.sim.triggers import Trigger, draw_triggers
from coord.jepsen_like.workloads import TREE_PARTS
from coord.limits import GRANTS_MAX, KIB, MIB, MemberLimits, StoreLimits
from coord.raft.settings import RaftSettings
from coord.raft.types import Configuration
from coord.replica.settings import ReplicaSettings

FAULTS = (
    "kill", "power_cut", "crash_loop", "pause", "cut", "one_way", "bridge", "ring", "break_link", "break_client",
    "drop_reply", "slow_disk", "slow_member", "failed_sync", "full_disk", "damage", "wipe", "wall_clock", "transfer",
    "configure", "freeze_client",
)  # fmt: skip
"""What the nemesis can do, and ``false_down``; see nemesis.py."""


@dataclass(frozen=True, slots=True)
class World:
    voters: int = 3
    learners: int = 0
    # Raft and the replica
    tick_ms: int = 50
    election_ticks: int = 10
    heartbeat_ticks: int = 2
    entry_bytes: int = 512 * KIB
    """1: each command is an entry of its own."""
    append_bytes: int = MIB
    """1: each entry travels alone."""
    inflight_appends: int = 64
    uncommitted_bytes: int = MIB
    resend_ticks: int = 50
    round_ticks: int = 10
    snapshot_entries: int = 200
    snapshot_section_bytes: int = 128 * KIB
    catch_up_bytes: int = 16 * KIB
    segment_bytes: int = 64 * KIB
    history_revisions: int = 100_000
    """Few: watches that resume meet a gap."""
    replay_revisions: int = 512
    replies_per_session: int = 8_192
    crumbs: bool = False
    """What members put together in large lots (frames, log that is applied, past events) comes in tiny ones."""
    alone_ms: int = 5
    """0: entries are on their way in company."""
    step_work_us: int = 10_000
    """1: a step applies one request, and answers one."""
    transit_work_us: int = 100_000
    """1: of each member's clients one frame at a time is on its way."""
    # Clients
    workload: str = "mixed"
    clients: int = 5
    session_timeout_ms: int = 5_000
    deadline_ms: int = 5_000
    grants_max: int = GRANTS_MAX
    """Claims that one revision grants to who waits; few: the next entries go on."""
    think_ms: int = 100
    """Between two steps of a client, on average."""
    backlog_bytes: int = 16 * KIB
    """On their way to a client: more, and its member is told that it is full."""
    # Lengths
    safety_ms: int = 30_000
    # Network
    streams: bool = True
    """Else datagrams; see network.py."""
    delay_min_us: int = 100
    delay_max_us: int = 2_000
    spikes: float = 0.0
    """The share of frames that take up to ``spike_max_us``."""
    spike_max_us: int = 1_000_000
    loss: float = 0.0
    """Of frames; on a stream each breaks the connection."""
    duplicates: float = 0.0
    told_down: float = 0.0
    """The share of deaths of processes of which another member is told (streams; to each by itself)."""
    # Disk and processor
    sync_min_us: int = 100
    sync_max_us: int = 2_000
    slow_syncs: float = 0.0
    """The share of syncs that take up to ``slow_sync_ms``."""
    slow_sync_ms: int = 1_000
    step_us: int = 50
    """What one step costs; what arrives meanwhile is taken by the next."""
    apply_us: int = 0
    """What each entry that is applied costs besides: a member that applies slowly."""
    # Clocks
    drift: float = 0.0
    """Members' and clients' clocks run at ``1 ± drift``; together below the documented percent."""
    # Faults
    fault_every_ms: int = 1_000
    """On average; 0: none."""
    faults: tuple[tuple[str, float], ...] = ()
    """``(kind, weight)``; see nemesis.py."""
    triggers: tuple[Trigger, ...] = ()
    pause_ms: int = 0
    """A process that is paused goes on within so long, not before half of it; 0: from a moment to some elections."""
    down_ms: int = 2_000
    """A member that died starts again within so long."""
    permanent: float = 0.0
    """The share of cuts that stay."""
    faults_from_start: bool = False
    """Also while the cluster forms."""

    @property
    def members(self) -> int:
        return self.voters + self.learners

    @property
    def configuration(self) -> Configuration:
        ids = range(1, self.members + 1)
        return Configuration(tuple(ids[: self.voters]), (), tuple(ids[self.voters :]))

    @property
    def election_ms(self) -> int:
        """The longest a member waits before it campaigns."""
        return 2 * self.election_ticks * self.tick_ms

    def replica_settings(self) -> ReplicaSettings:
        return ReplicaSettings(
            tick_ms=self.tick_ms,
            raft=RaftSettings(
                election_ticks=self.election_ticks,
                heartbeat_ticks=self.heartbeat_ticks,
                max_append_bytes=self.append_bytes,
                max_inflight_appends=self.inflight_appends,
            ),
            limits=MemberLimits(history_revisions=self.history_revisions),
            store_limits=StoreLimits(replies_per_session=self.replies_per_session),
            entry_bytes=self.entry_bytes,
            uncommitted_bytes=self.uncommitted_bytes,
            resend_ticks=self.resend_ticks,
            round_ticks=self.round_ticks,
            snapshot_entries=self.snapshot_entries,
            snapshot_section_bytes=self.snapshot_section_bytes,
            snapshot_sections_per_tick=2,
            catch_up_bytes=self.catch_up_bytes,
            replay_revisions=self.replay_revisions,
            alone_ms=self.alone_ms,
            step_work_us=self.step_work_us,
            transit_work_us=self.transit_work_us,
        )

    def __str__(self) -> str:
        """``key=value`` of what is not as by default."""
        return " ".join(f"{name}={value!r}" for name, value in differences(self).items())


def differences(world: World) -> dict[str, Any]:
    """What ``world`` has otherwise than the default one."""
    return {
        each.name: getattr(world, each.name)
        for each in fields(World)
        if getattr(world, each.name) != each.default
    }


def override(world: World, settings: Mapping[str, str]) -> World:
    """``world`` with fields set from text, as Python literals (a bare word is text).

    Raises :class:`ValueError` for a field that there is not, or a value of another type.
    """
    changes: dict[str, Any] = {}
    kinds = {each.name: type(each.default) for each in fields(World)}
    for name, text in settings.items():
        if name not in kinds:
            raise ValueError(f"a world has no {name!r}; it has {', '.join(kinds)}")
        try:
            value = literal_eval(text)
        except (ValueError, SyntaxError):
            value = text
        if kinds[name] is float and type(value) is int:
            value = float(value)
        if type(value) is not kinds[name]:
            raise ValueError(f"{name} is {kinds[name].__name__}, not {text!r}")
        changes[name] = value
    return replace(world, **changes)


def draw(seed: int) -> World:
    """The world of ``seed``."""
    dice = Random(f"world {seed}")
    pick = dice.choice
    tick_ms = pick((20, 50, 50, 100, 100))
    election_ticks = pick((3, 5, 10, 10, 15))
    think_ms, safety_ms = pick(((30, 3_000), (100, 8_000), (400, 20_000)))
    snapshot_entries = pick((3, 10, 40, 200, 100_000))
    tight = dice.random() < 0.2
    append_bytes, inflight_appends = pick((1, 1, 500, MIB)), pick((1, 2, 8, 64))
    # One entry at a time to each peer is slow. A cluster that has less room than its clients ask for never catches up
    # (commands that wait for long are passed on again), and that is not what such a world is to show.
    narrow = append_bytes == 1 and inflight_appends < 8
    if narrow:
        think_ms, safety_ms, tight = 400, 20_000, True
    faults = tuple((kind, pick((0.3, 1.0, 3.0))) for kind in FAULTS if dice.random() < 0.55)
    world = World(
        voters=pick((1, 2, 3, 3, 3, 3, 4, 5, 5, 5, 6, 7)),
        learners=pick((0, 0, 0, 0, 1, 2)),
        tick_ms=tick_ms,
        election_ticks=election_ticks,
        heartbeat_ticks=pick((1, 2, min(3, election_ticks - 1))),
        entry_bytes=pick((1, 300, 512 * KIB)),
        append_bytes=append_bytes,
        inflight_appends=inflight_appends,
        uncommitted_bytes=pick((2_000, MIB)),
        resend_ticks=50 if narrow else pick((5, 20, 50)),
        snapshot_entries=snapshot_entries,
        snapshot_section_bytes=pick((200, 2_000, 128 * KIB)),
        catch_up_bytes=pick((1, 500, 16 * KIB)),
        segment_bytes=pick((1, 4 * KIB, 64 * KIB)) if snapshot_entries < 1_000 else 64 * KIB,
        # A snapshot holds the history: after each few entries, a long one would cost more than all the rest.
        history_revisions=pick((5, 50)) if snapshot_entries == 3 else pick((5, 50, 100_000, 100_000)),
        replay_revisions=pick((1, 4, 512)),
        replies_per_session=pick((8_192, 8_192, 8_192, 16)),
        workload=pick(("mixed", "mixed", "mixed", *TREE_PARTS, "mixed")),
        clients=pick((1, 2, 3, 5)),
        session_timeout_ms=pick((5_000, 10_000) if narrow else (1_000, 2_000, 5_000, 10_000)),
        deadline_ms=pick((500, 2_000, 10_000)),
        backlog_bytes=pick((500, 16 * KIB)),
        think_ms=think_ms,
        safety_ms=pick((safety_ms, safety_ms, 2 * safety_ms)),
        streams=dice.random() < 0.7,
        delay_min_us=pick((50, 500)),
        delay_max_us=pick((500, 5_000) if narrow else (500, 5_000, 30_000)),
        spikes=0.0 if tight else pick((0.0, 0.001, 0.02)),
        spike_max_us=pick((100_000, 3 * election_ticks * tick_ms * 1_000)),
        loss=0.0 if tight else pick((0.0, 0.001, 0.01, 0.1)),
        duplicates=pick((0.0, 0.02, 0.3)),
        sync_min_us=pick((0, 100, 1_000)),
        sync_max_us=pick((1_000, 10_000)),
        slow_syncs=pick((0.0, 0.0, 0.01, 0.1)),
        slow_sync_ms=pick((50, 1_000, 3_000)),
        step_us=pick((20, 200, 1_000)),
        apply_us=0 if narrow else pick((0, 0, 0, 2_000)),
        drift=pick((0.0, 0.002, 0.0049)),
        fault_every_ms=pick((300, 1_000, 3_000)),
        faults=faults,
        triggers=draw_triggers(dice),
        down_ms=pick((100, 1_000, 5_000)),
        permanent=pick((0.0, 0.2)),
        faults_from_start=dice.random() < 0.3,
    )
    claiming = with_claims(narrowed(world, dice), Random(f"claims {seed}"))
    later = with_reports(with_recipes(claiming, seed), seed)
    held_up = with_stalls(with_trees(later, seed), seed)
    return with_company(with_parts(with_crumbs(with_transit(held_up, seed), seed), seed), seed)
