"""What members say to each other: one class for each thing that can be said.

Every message begins with the sender's ``term``. Fields are ints, bools, bytes, or tuples of these, so that
the wire can carry any of them as ``[type number, *fields]``. There are no optional fields and none whose
meaning depends on another; where an answer can be yes or no with different contents, it is two classes.

Objects are shared: the very same ``Append`` or ``Heartbeat`` may stand in ``Outputs.messages`` for several
peers, so an encoder may keep what it encoded last and compare by identity.
"""

from typing import NamedTuple

from coord.raft.types import Entry, SnapshotMeta


class PreVote(NamedTuple):
    """Would you vote for me? Asked before a term is spent on a campaign (thesis §9.6).

    ``term`` is the term the sender *would* campaign in: one more than its own. Nobody's term or vote changes.
    """

    term: int
    last_index: int
    last_term: int


class PreVoteReply(NamedTuple):
    """``granted``: ``term`` repeats the term asked for. Refused: ``term`` is the answering member's own."""

    term: int
    granted: bool


class Vote(NamedTuple):
    """A candidate asks for a vote (thesis §3.4). Leaves only when its own vote and its whole log are on disk.

    ``forced``: the leader itself asked for this election (``TimeoutNow``), so members that still hear from
    that leader may answer it.
    """

    term: int
    last_index: int
    last_term: int
    forced: bool


class VoteReply(NamedTuple):
    """A grant leaves only when the vote is on disk; a refusal promises nothing and leaves at once."""

    term: int
    granted: bool


class Append(NamedTuple):
    """Entries that follow ``(previous_index, previous_term)`` in the leader's log; perhaps none (a probe).

    ``commit`` is the leader's commit index; the receiver may commit no more of it than this message lets it
    verify, that is ``previous_index + len(entries)``.
    """

    term: int
    previous_index: int
    previous_term: int
    commit: int
    entries: tuple[Entry, ...]


class AppendReply(NamedTuple):
    """All through ``match_index`` equals the leader's log and is on the sender's disk, with this ``term``.

    Cumulative: one reply may answer many appends. From a ``recovering`` member it moves the flow of entries
    on, and counts for nothing else.
    """

    term: int
    match_index: int
    recovering: bool


class AppendRefused(NamedTuple):
    """The sender has no entry ``(previous_index, previous_term)``. Promises nothing, so it leaves at once.

    ``(hint_index, hint_term)``: its last entry at or below ``previous_index`` whose term is not above the
    ``previous_term`` it was asked about; the logs cannot agree later than that.
    """

    term: int
    previous_index: int
    hint_index: int
    hint_term: int
    recovering: bool


class Heartbeat(NamedTuple):
    """The leader is here. ``round`` numbers the beats of one term; reads wait for replies to a late enough one.

    ``(commit, commit_term)`` names the leader's last committed entry. A receiver that has this very entry has
    all before it too (log matching), so this is safe to commit by, whatever the leader believes of it.
    """

    term: int
    commit: int
    commit_term: int
    round: int


class HeartbeatReply(NamedTuple):
    """Answered at once, without the disk. Also the answer to anything from the leader of a bygone term."""

    term: int
    round: int
    recovering: bool


class Commit(NamedTuple):
    """The commit index moved and there were no entries to send it along with. As in ``Heartbeat``; unanswered."""

    term: int
    commit: int
    commit_term: int


class SnapshotSection(NamedTuple):
    """One section, numbered from 0, of the snapshot ``meta``. Section 0 always begins anew."""

    term: int
    meta: SnapshotMeta
    section: int
    data: bytes
    last: bool


class SnapshotWanted(NamedTuple):
    """All sections before ``section`` are stored: send that one. 0: the sender knows of no such transfer."""

    term: int
    snapshot_index: int
    section: int


class SnapshotInstalled(NamedTuple):
    """The sender has the effect of everything through ``snapshot_index`` and wants the entries after it.

    It promises nothing: the append that follows is what is acknowledged.
    """

    term: int
    snapshot_index: int


class SnapshotRefused(NamedTuple):
    """What arrived does not add up (its digest differs): begin again."""

    term: int
    snapshot_index: int


class TimeoutNow(NamedTuple):
    """Leadership is yours to take: call an election at once (thesis §3.10)."""

    term: int


class RecoveryRequest(NamedTuple):
    """My disk lost what I may have promised: up to where must I catch up? ``nonce`` is new at every start."""

    term: int
    nonce: int


class RecoveryTarget(NamedTuple):
    """Up to ``target_index``: an entry that the leader appended *after* it got the request with this ``nonce``."""

    term: int
    nonce: int
    target_index: int


Message = (
    PreVote
    | PreVoteReply
    | Vote
    | VoteReply
    | Append
    | AppendReply
    | AppendRefused
    | Heartbeat
    | HeartbeatReply
    | Commit
    | SnapshotSection
    | SnapshotWanted
    | SnapshotInstalled
    | SnapshotRefused
    | TimeoutNow
    | RecoveryRequest
    | RecoveryTarget
)

MESSAGE_TYPES: dict[int, type[Message]] = {
    1: PreVote,
    2: PreVoteReply,
    3: Vote,
    4: VoteReply,
    5: Append,
    6: AppendReply,
    7: AppendRefused,
    8: Heartbeat,
    9: HeartbeatReply,
    10: Commit,
    11: SnapshotSection,
    12: SnapshotWanted,
    13: SnapshotInstalled,
    14: SnapshotRefused,
    15: TimeoutNow,
    16: RecoveryRequest,
    17: RecoveryTarget,
}
"""The numbers on the wire. They never change meaning; a new message takes a new number."""
