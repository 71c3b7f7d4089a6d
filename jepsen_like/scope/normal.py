"""A member's normal form: what cannot matter within a scope is rewritten to one value, in the real state itself.

The fingerprint leaves nothing out (canonical.py); this file is the whole list of what is taken as equal, and why. Each
rewriting puts the state into one that the same member could be in after another, equally possible past.

Time. Members' clocks are not compared by anything in the core, and a tick may come at any moment: the schedule is the
adversary's. So a counter of ticks matters only by which side of its threshold it is on, and the dice only by the
numbers that they could give: any timeout can be made to end first by ticking that member only. The timeout is always
the longest, so that there is a moment in which a member no longer defends its leader and does not campaign yet.

Batches under way are numbered from 1: only their order matters. What is held for the disk twice is held once: a
repeated request for a vote is answered twice, and the network repeats what it likes anyway.
"""

from collections import deque

from coord.jepsen_like.scope.disk import Disk
from coord.raft.progress import ProgressState
from coord.raft.raft import Raft
from coord.raft.roles import Role
from coord.raft.state import HeldMessage, RaftState


def normalise(raft: Raft, disk: Disk, lives: int, checks_quorum: bool, reads: bool) -> None:
    """Rewrite the state. ``lives``: how often this member lost its disk; ``checks_quorum``: whether the scope does."""
    state = raft._state
    _rewrite_time(state)
    _renumber_batches(state, disk)
    if len(state.held) > 1:
        once = {_held_order(held): held for held in state.held}
        state.held = deque([once[order] for order in sorted(once)])
    state.dice._state = 0
    # The nonce names a life to the leader while this member is recovering, and is never looked at otherwise.
    state.nonce = 2 * lives + 1 if state.recovering else 1
    if state.role is not Role.LEADER:
        state.round = 0  # set to 0 by whoever becomes a leader; nobody else looks
        state.transfer_elapsed = 0
    if not reads:
        # Beats are numbered for the sake of reads alone. Without them every beat of a term and commit is the same.
        state.round = 0
        state.answered_rounds = {}
    if not checks_quorum:
        state.heard_from = {}  # read by the check of the quorum alone, which this scope leaves out


def _held_order(held: HeldMessage) -> tuple[int, int, str]:
    return held.number, held.to, repr(held.message)


def _rewrite_time(state: RaftState) -> None:
    ticks = state.settings.election_ticks
    state.election_timeout = 2 * ticks - 1
    state.short_timeouts = 0  # only makes timeouts shorter, and they end when the adversary likes
    if state.role is Role.LEADER or not state.leader:
        # A leader checks its quorum by an action of its own, which ticks for a whole timeout. Without a leader to
        # defend, patience is only what is left until the next campaign, which may come at any time.
        state.election_elapsed = 0
    else:
        state.election_elapsed = ticks if state.election_elapsed >= ticks else 0
    state.heartbeat_elapsed = 0
    for progress in state.peers:
        threshold = ticks if progress.state is ProgressState.SNAPSHOT else state.settings.heartbeat_ticks
        progress.silent_ticks = min(progress.silent_ticks, threshold)


def _renumber_batches(state: RaftState, disk: Disk) -> None:
    shift = state.batch_number - len(disk.unsynced)
    if shift == 0:
        return
    state.batch_number -= shift
    for batch in state.log._batches:
        batch.number -= shift
    for position, (number, hard_state) in enumerate(state.batches_hard_state):
        state.batches_hard_state[position] = (number - shift, hard_state)
    for position, held in enumerate(state.held):
        state.held[position] = HeldMessage(held.number - shift, held.to, held.message)
    for position, persist in enumerate(disk.unsynced):
        disk.unsynced[position] = persist._replace(number=persist.number - shift)
