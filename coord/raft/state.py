"""All that one member of a Raft cluster knows: plain data, with its inequalities. Behaviour is in the other files."""

from collections import deque
from typing import NamedTuple

from coord.raft.dice import Dice
from coord.raft.log import Log
from coord.raft.messages import Message
from coord.raft.outputs import Outputs
from coord.raft.progress import Progress
from coord.raft.roles import Role
from coord.raft.settings import RaftSettings
from coord.raft.types import Configuration, HardState, SnapshotMeta


class HeldMessage(NamedTuple):
    """A message that claims something which is on its way to the disk: it leaves when batch ``number`` is synced."""

    number: int
    to: int
    message: Message


class ReadRound(NamedTuple):
    """Reads that one round of heartbeats will confirm: the leader's commit index was ``index`` when it began."""

    round: int
    commit_index: int
    contexts: list[int]


class ConfigurationAt(NamedTuple):
    """``configuration`` acts from the entry at ``log_index`` on."""

    log_index: int
    configuration: Configuration


class IncomingSnapshot:
    """A snapshot that a leader is sending here. It belongs to that leader's term: another begins from section 0."""

    __slots__ = ("awaiting_store", "installing", "meta", "next_section", "sender", "term")

    def __init__(self, sender: int, term: int, meta: SnapshotMeta) -> None:
        self.sender = sender
        self.term = term
        self.meta = meta
        self.next_section = 0
        """All before it are stored."""
        self.awaiting_store = False
        """Section ``next_section`` was handed to the shell and is not stored yet."""
        self.installing = False
        """That section was the last: the shell is verifying and loading the whole."""


class RaftState:
    """One member's Raft state.

    Everywhere: ``log.boundary_index <= delivered_index <= commit_index <= log.last_index``,
    and ``snapshot.index <= delivered_index``.
    """

    __slots__ = (
        "ack_due",
        "acked_index",
        "acknowledged",
        "answered_rounds",
        "batch_number",
        "batches_hard_state",
        "beat_due",
        "commit_index",
        "configuration",
        "configuration_index",
        "configurations",
        "delivered_index",
        "dice",
        "durable_hard_state",
        "election_elapsed",
        "election_timeout",
        "handed_hard_state",
        "heard_from",
        "heartbeat_elapsed",
        "held",
        "incoming",
        "leader",
        "log",
        "member_id",
        "nonce",
        "outputs",
        "peers",
        "progress",
        "read_rounds",
        "reads_waiting",
        "recovering",
        "recovery_target",
        "role",
        "round",
        "settings",
        "short_timeouts",
        "snapshot",
        "term",
        "term_start_index",
        "transfer_elapsed",
        "transfer_to",
        "uncommitted_bytes",
        "verified_index",
        "vote",
        "votes",
    )

    def __init__(
        self,
        member_id: int,
        settings: RaftSettings,
        dice: Dice,
        hard_state: HardState,
        snapshot: SnapshotMeta,
        log: Log,
        recovering: bool,
    ) -> None:
        self.member_id = member_id
        self.settings = settings
        self.dice = dice
        self.outputs = Outputs()

        # -- who leads -------------------------------------------------------------------------------------
        self.term = hard_state.term
        """Never decreases; ``log.last_term <= term``."""
        self.vote = hard_state.vote
        """Whom this member voted for in ``term``; 0: nobody. Changes only from 0, or when the term does."""
        self.role = Role.FOLLOWER
        self.leader = 0
        """Who leads ``term``, as far as is known; 0: unknown. Within a term only from 0 to one id, or back."""
        self.election_elapsed = 0
        """Ticks since this member heard from the leader, granted a vote, or began to campaign. A leader: since it
        last checked its quorum."""
        self.election_timeout = 0
        """In ``[election_ticks, 2 * election_ticks)``, drawn anew for each campaign; less after a report that the
        leader is down (peer_down.py)."""
        self.short_timeouts = 0
        """So many of the next timeouts are short. 0 but for who asks for pre-votes, or is to, after such a report."""
        self.votes: dict[int, bool] = {}
        """(PRE_)CANDIDATE: who answered, and whether it granted. Its own grant is here once that is on disk."""

        # -- the log, and how far it is decided ------------------------------------------------------------
        self.log = log
        self.snapshot = snapshot
        """This member's newest durable snapshot; ``log.boundary_index <= snapshot.index`` once it has one."""
        self.commit_index = snapshot.index
        """Never decreases. The entry there is the same at every member, for ever."""
        self.delivered_index = snapshot.index
        """Committed entries through here went into some ``Outputs.committed``."""
        self.uncommitted_bytes = 0
        """LEADER: the data of entries ``(commit_index, last_index]``."""
        self.term_start_index = 0
        """LEADER: the no-op with which its term began. ``commit_index >= term_start_index`` means that it has committed
        an entry of its own term, and so knows everything that was ever committed (thesis §6.4)."""

        # -- the disk --------------------------------------------------------------------------------------
        self.batch_number = 0
        """The last batch that was handed out."""
        self.handed_hard_state = hard_state
        """As of the last batch that carried one."""
        self.batches_hard_state: deque[tuple[int, HardState]] = deque()
        """Batches under way that carry one."""
        self.durable_hard_state = hard_state
        """As of the last synced batch that carried one: ``durable.term <= handed.term <= term``."""
        self.held: deque[HeldMessage] = deque()
        """Ascending by batch number."""

        # -- FOLLOWER: what the leader of this term showed to be equal ---------------------------------------
        self.verified_index = 0
        """The logs agree through here. Never truncated in this term; 0 when the term changes."""
        self.acked_index = 0
        """Acknowledged to this leader; ``acked_index <= min(verified_index, log.persisted_index)`` when it was said."""
        self.ack_due = False
        """An acknowledgement goes with the next outputs, once the term is durable."""
        self.incoming: IncomingSnapshot | None = None

        # -- LEADER: its peers -----------------------------------------------------------------------------
        self.progress: dict[int, Progress] = {}
        self.peers: tuple[Progress, ...] = ()
        """The values of ``progress`` by ascending id, for iteration. Other roles have none."""
        self.acknowledged: dict[int, int] = {}
        """Per member, itself too: its log is durable and equal to ours through here. Never decreases within a term.
        Says nothing about members that are recovering: only what they said at other times."""
        self.answered_rounds: dict[int, int] = {}
        """Per peer: the latest heartbeat that it answered, while not recovering."""
        self.heard_from: dict[int, bool] = {}
        """Per peer: heard from, while not recovering, since the last check of the quorum."""
        self.heartbeat_elapsed = 0
        self.beat_due = False
        """The next outputs carry a heartbeat."""
        self.round = 0
        """The last heartbeat's number in this term. Every beat has a new one."""
        self.reads_waiting: list[int] = []
        """Contexts that no round was begun for."""
        self.read_rounds: deque[ReadRound] = deque()
        """Ascending by round and by commit index."""
        self.transfer_to = 0
        """Whom leadership is being handed to; 0: nobody."""
        self.transfer_elapsed = 0

        # -- membership ------------------------------------------------------------------------------------
        self.configurations: list[ConfigurationAt] = [ConfigurationAt(snapshot.index, snapshot.configuration)]
        """Ascending; the first is the newest at or below the log's boundary or the snapshot, the last one acts."""
        self.configuration = snapshot.configuration
        """The last of ``configurations``."""
        self.configuration_index = snapshot.index
        """And its index. ``> commit_index``: it acts, but may still be truncated."""

        # -- recovering (recovering.py) ----------------------------------------------------------------------
        self.recovering = recovering
        self.nonce = dice.draw() >> 2 | 1
        """Names this start of this member to the leader. Never 0; fits a signed 64-bit integer."""
        self.recovery_target = 0
        """The entry to be reached in this term; 0: the leader of this term has not said."""
