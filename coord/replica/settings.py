"""What one replica is told at its start."""

from dataclasses import dataclass, field

from coord.limits import KIB, MIB, MemberLimits, StoreLimits
from coord.raft.settings import RaftSettings


@dataclass(frozen=True, slots=True)
class ReplicaSettings:
    """All members of a cluster should agree on ``tick_ms`` and ``raft``."""

    tick_ms: int = 20
    """The shell sends one :class:`~coord.replica.inputs.Tick` each."""
    raft: RaftSettings = field(default_factory=RaftSettings)
    step_work_us: int = 10_000
    """What one step applies, and what it reads for clients, at most; then the shell looks at its sockets and its
    clock, and the next step goes on. Counted, and not timed (coord/store/work.py), in about microseconds; one request
    more may come on top of each, some 100 ms at the worst. ``2 * step_work_us <= tick_ms * 1000``, which is less than
    the time between two beats, and with two such requests less than an election timeout."""
    transit_work_us: int = 50_000
    """Of its clients' writes a member passes no more on, while what it passed on and has not applied is expected to
    take so much; the rest waits for its turn. All members together: how long a read may have to wait for what others
    write. Far above what a busy cluster has on its way in a round trip, so that only who asks for large things meets
    it."""
    limits: MemberLimits = field(default_factory=MemberLimits)
    store_limits: StoreLimits = field(default_factory=StoreLimits)
    """What this member writes into the log when it leads."""
    entry_bytes: int = 512 * KIB
    """Commands are gathered into one entry up to this size; a larger command stands alone."""
    alone_ms: int = 5
    """A leader's entry is alone on its way for so long, or until it is committed; what comes meanwhile is the next one.
    Far more than a round trip to neighbours, and their syncs; far less than one to another continent. What is held back
    by it and hears of nothing else goes at the next tick."""
    uncommitted_bytes: int = 64 * MIB
    """A leader appends no more while so much is not committed; what comes waits."""
    resend_ticks: int = 50
    """Without progress for so long, pending commands are passed on anew: something was lost."""
    round_ticks: int = 10
    """Without an answer for so long, a round of reads is asked anew, under a new number."""
    touch_ticks: int = 5
    """A follower tells the leader whom it heard from, at least so often. ``touch_ticks * tick_ms`` is far
    below the shortest session timeout."""
    lease_ticks: int = 5
    """How often a leader looks for sessions that were silent for too long, and for what falls due."""
    snapshot_log_bytes: int = 32 * MIB
    """A snapshot begins when the log after the last one is this large, or half the size of the data."""
    snapshot_entries: int = 200_000
    """… or has this many entries …"""
    snapshot_requests: int = 200_000
    """… or this many requests, or a sixth as many as there are znodes: a start applies them all again, whatever their
    size, at some 10 µs each; a znode costs 2 µs in each snapshot, and 2 at a start."""
    snapshot_quiet_ticks: int = 250
    """… or at a quarter of these, when for so long next to nothing was applied. Most starts come in such a time, and
    find little to apply again."""
    snapshot_section_bytes: int = 256 * KIB
    """One section is made at a time, in a few milliseconds, between other work."""
    snapshot_sections_per_tick: int = 1
    """A section of a million small znodes takes 2 ms and more of the replica's time: a tenth to a quarter of it, for
    12 s. Twice as many would be done sooner, and be felt."""
    catch_up_bytes: int = 16 * MIB
    """Of log kept behind a snapshot, for followers that lag a little."""
    token_key_lead_ms: int = 60_000
    """A new key for signing tokens is in the tree for so long before it is used: for those who verify, and read the
    keys only now and then."""
    replay_revisions: int = 512
    """A watch that resumes is sent the past in lots of this many revisions, as its client takes them."""
