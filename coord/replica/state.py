"""A replica's state: plain data that the files of functions beside it work on."""

from collections import deque
from dataclasses import dataclass, field

from coord.api.commands import Reply
from coord.api.errors import CoordError
from coord.raft.raft import Raft
from coord.raft.types import Entry
from coord.replica.connections import Connection
from coord.replica.inputs import Outputs
from coord.replica.leases import Leases
from coord.replica.proposals import Proposals
from coord.replica.reads import ReadRounds, RevisionWaits, Waiting
from coord.replica.settings import ReplicaSettings
from coord.replica.snapshots import SnapshotMaker, SnapshotTaker
from coord.replica.token_keys import TokenKeys
from coord.replica.turns import Turns
from coord.replica.watches import Watches
from coord.store.store import Store


@dataclass(frozen=True, slots=True)
class Who:
    """Who this member is, and whom clients can turn to."""

    member: int
    cluster: bytes
    """Sixteen bytes, drawn when the cluster was formed."""
    boot: int
    """Drawn at random at each start, 40 bits: numbers that begin with it are of this life."""
    addresses: dict[int, str] = field(default_factory=dict)
    """Client addresses by member id."""


@dataclass(slots=True)
class ReplicaState:
    """Invariant: ``store.applied_index <= raft.commit_index``; what is between is in ``committed``."""

    who: Who
    settings: ReplicaSettings
    raft: Raft
    store: Store
    proposals: Proposals
    rounds: ReadRounds
    waits: RevisionWaits
    snapshot_maker: SnapshotMaker
    snapshot_taker: SnapshotTaker
    token_keys: TokenKeys
    watches: Watches = field(default_factory=Watches)
    connections: dict[int, Connection] = field(default_factory=dict)
    attached: dict[int, int] = field(default_factory=dict)
    """Session -> its connection here."""
    opening: dict[int, int] = field(default_factory=dict)
    """Nonce -> the connection whose session it will be."""
    opening_since_ms: dict[int, int] = field(default_factory=dict)
    dirty: dict[int, None] = field(default_factory=dict)
    """Connections that have something to send at the end of this step."""
    touched: dict[int, None] = field(default_factory=dict)
    """Sessions heard from here since the leader was last told. A leader has none: it knows at once."""
    committed: deque[Entry] = field(default_factory=deque)
    """Entries that are not applied yet; of the first, a part may be."""
    committed_bytes: int = 0
    """Of them."""
    due: list[Waiting] = field(default_factory=list)
    """Reads that are to be served at the end of this step, at whatever is applied then."""
    turns: Turns[Waiting] = field(default_factory=Turns)
    """Reads that were due in an earlier step, which had enough to do."""
    contexts: dict[int, tuple[int, int]] = field(default_factory=dict)
    """A leader's: Raft's read context -> (who asked, its round)."""
    next_context: int = 0
    leases: Leases | None = None
    """A leader's, else ``None``."""
    cluster_time_base_ms: int = 0
    """A leader's: cluster time when its lease clock was at 0; set at each tick, never above the store's."""
    term: int = 0
    leader: int = 0
    """The term and leader of the present stream of proposals."""
    limits_proposed: bool = False
    proposed_ms: int = 0
    """A leader's: when it last put into the log what had gathered."""
    expire_index: int = 0
    """A leader's: the last entry that ended sessions for their silence. Reads wait for it; see leading.py."""
    sweep_index: int = 0
    """The last entry that was proposed only for what falls due."""
    now_ms: int = 0
    wall_ms: int = 0
    ticks: int = 0
    progress_tick: int = 0
    """The last tick at which the pending commands moved, or there were none, or they were all passed on anew."""
    resends: int = 0
    """How often they were passed on anew since some moved that had been passed on once (:func:`made_progress`)."""
    openings: int = 0
    """Sessions that this life of the member has asked to open."""
    was_recovering: bool = False
    outputs: Outputs = field(default_factory=Outputs)

    @property
    def leads(self) -> bool:
        return self.leases is not None

    @property
    def waiting_reads(self) -> int:
        """Frames of reads that wait here, for whatever."""
        return len(self.rounds) + len(self.waits) + len(self.token_keys.waiting) + self.turns.count


def reply(state: ReplicaState, connection: Connection, row: Reply) -> None:
    """Answer a request of ``connection``."""
    connection.reply(row)
    state.dirty[connection.id] = None


def refuse(state: ReplicaState, connection: Connection, request: int, error: CoordError) -> None:
    """Refuse a request of ``connection``, here and now."""
    store = state.store
    details = dict(error.details)
    row = (request, error.code, store.revision, store.applied_index, error.message, details)
    reply(state, connection, row)


def made_progress(state: ReplicaState) -> None:
    """A command of this member's clients was applied, or there is none, or a new leader to pass them on to.

    Patience stays as long as it has become until something is applied that was passed on once only (Karn's algorithm,
    RFC 6298 §3 and §5.7), or nothing is pending. The interleaving this defends against:

    1. The leader is overloaded: what is passed on is applied after a second. A follower passes all of it on again
       after half a second, and after one more; the leader takes these for new, so the log gets three times as much.
    2. The first of them is applied, and patience is short again; what came meanwhile is passed on three times, too.
    3. Clients give up, and open sessions anew; those that they gave up are opened and ended all the same.
    """
    state.progress_tick = state.ticks
    if state.proposals.moved_at_once or not state.proposals.pending_count:
        state.resends = 0


def close(state: ReplicaState, connection: Connection, error: CoordError) -> None:
    """Tell the client why, and hang up; its session, if any, goes on until it ends by itself."""
    connection.close(error)
    state.dirty[connection.id] = None
    forget(state, connection)


def forget(state: ReplicaState, connection: Connection) -> None:
    """The connection takes no further part in anything."""
    if connection.session and state.attached.get(connection.session) == connection.id:
        del state.attached[connection.session]
    connection.session = 0
    connection.deferred.clear()
    state.watches.remove_connection(connection.id)
    connection.watch_count = connection.replaying = 0
