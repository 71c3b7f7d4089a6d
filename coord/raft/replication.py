"""The leader's side of replication: what to send to whom, and what the answers mean. Flow is drawn in progress.py."""

from coord.raft.commitment import advance_commit
from coord.raft.messages import Append, AppendRefused, AppendReply, Commit, HeartbeatReply
from coord.raft.persistence import send
from coord.raft.progress import Progress, ProgressState
from coord.raft.reads import confirm_reads
from coord.raft.state import RaftState
from coord.raft.transfer import urge_transfer


def send_what_is_due(state: RaftState) -> None:
    """Give every peer what its flow admits: entries, and with them or alone the news of what is committed.

    Called once for each time that outputs are taken, so that what gathered meanwhile travels together. Peers that are
    equally far get the very same ``Append``.
    """
    made: dict[int, Append] = {}
    for progress in state.peers:
        if progress.state is ProgressState.REPLICATE:
            _stream(state, progress, made)
        elif progress.state is ProgressState.PROBE and not progress.probe_sent:
            _probe(state, progress, made)


def _stream(state: RaftState, progress: Progress, made: dict[int, Append]) -> None:
    last_index = state.log.last_index
    window = state.settings.max_inflight_appends
    while progress.next_index <= last_index and len(progress.inflight) < window:
        append = _append_from(state, progress.next_index, made)
        if append is None:
            _need_snapshot(state, progress)
            return
        send(state, progress.peer, append)
        if not progress.inflight:
            progress.silent_ticks = 0  # until now there was nothing for it to answer
        progress.next_index = append.entries[-1].index + 1
        progress.inflight.append(progress.next_index - 1)
        progress.commit_sent = state.commit_index
    if progress.commit_sent < state.commit_index:
        progress.commit_sent = commit = state.commit_index
        send(state, progress.peer, Commit(state.term, commit, state.log.term_at(commit) or 0))


def _probe(state: RaftState, progress: Progress, made: dict[int, Append]) -> None:
    append = _append_from(state, progress.next_index, made)
    if append is None:
        _need_snapshot(state, progress)
        return
    if progress.probe_empty:
        append = append._replace(entries=())
    send(state, progress.peer, append)
    progress.probe_sent = True
    progress.silent_ticks = 0
    progress.commit_sent = state.commit_index


def _append_from(state: RaftState, next_index: int, made: dict[int, Append]) -> Append | None:
    """The append that begins at ``next_index``; None when what precedes it is no longer in the log."""
    append = made.get(next_index)
    if append is None:
        log = state.log
        previous_term = log.term_at(next_index - 1)
        if previous_term is None:
            return None
        entries = (
            log.slice_of_bytes(next_index, state.settings.max_append_bytes)
            if next_index <= log.last_index
            else ()
        )
        made[next_index] = append = Append(
            state.term, next_index - 1, previous_term, state.commit_index, entries
        )
    return append


def _need_snapshot(state: RaftState, progress: Progress) -> None:
    """The log no longer reaches back to where this peer is."""
    if progress.reachable:
        progress.become_snapshot(state.snapshot)
        state.outputs.sections_wanted.append((progress.peer, state.snapshot.index, 0))
    else:
        progress.become_probe(progress.next_index)
        progress.probe_sent = True  # until it answers a heartbeat


def own_log_persisted(state: RaftState) -> None:
    """The leader counts itself like any member: what is on its disk, and no more."""
    persisted = state.log.persisted_index
    if persisted > state.acknowledged.get(state.member_id, 0):
        state.acknowledged[state.member_id] = persisted
        advance_commit(state)


def handle_append_reply(state: RaftState, sender: int, message: AppendReply) -> None:
    progress = state.progress.get(sender)
    match_index = message.match_index
    if progress is None or match_index > state.log.last_index:
        return
    progress.silent_ticks = 0
    progress.reachable = True
    progress.recovering = message.recovering
    progress.advance_match(match_index)
    if progress.state is ProgressState.PROBE:
        if match_index >= progress.match_index:
            progress.become_replicate()
    elif progress.snapshot is not None and match_index >= progress.snapshot.index:
        progress.become_replicate()
    if message.recovering:
        return  # it moves the flow, and counts for nothing
    state.heard_from[sender] = True
    if match_index > state.acknowledged.get(sender, 0):
        state.acknowledged[sender] = match_index
        if state.transfer_to == sender:
            urge_transfer(state)
        advance_commit(state)


def handle_append_refused(state: RaftState, sender: int, message: AppendRefused) -> None:
    progress = state.progress.get(sender)
    if progress is None:
        return
    progress.silent_ticks = 0
    progress.reachable = True
    progress.recovering = message.recovering
    if not message.recovering:
        state.heard_from[sender] = True
    if progress.state is ProgressState.SNAPSHOT:
        return
    refused = message.previous_index
    if refused <= progress.match_index:
        if not message.recovering:
            return  # it acknowledged that since: this answer was overtaken
        # Its disk lost what it once acknowledged. The flow begins anew; what counted has counted (recovering.py).
        progress.match_index = 0
    elif progress.state is ProgressState.PROBE and refused != progress.next_index - 1:
        return  # the answer to an earlier probe
    elif progress.state is ProgressState.REPLICATE:
        progress.become_probe(progress.match_index + 1)
        return
    # The logs agree no later than where the terms do: skip whole terms rather than step by one (thesis §3.5).
    agreeing_index, _ = state.log.last_not_above_term(message.hint_index, message.hint_term)
    progress.become_probe(max(1, min(agreeing_index + 1, refused)))


def handle_heartbeat_reply(state: RaftState, sender: int, message: HeartbeatReply) -> None:
    progress = state.progress.get(sender)
    if progress is None:
        return
    progress.reachable = True
    progress.recovering = message.recovering
    if progress.silent_ticks >= state.settings.heartbeat_ticks:
        _ask_again(state, progress)
    if message.recovering:
        return
    state.heard_from[sender] = True
    answered = min(message.round, state.round)
    if answered > state.answered_rounds.get(sender, 0):
        state.answered_rounds[sender] = answered
        if state.read_rounds:
            confirm_reads(state)


def _ask_again(state: RaftState, progress: Progress) -> None:
    """It lives, but an append or its answer may be lost; without entries, for it may only be slow to sync them."""
    if progress.state is ProgressState.PROBE:
        progress.probe_sent = False
        progress.probe_empty = True
    elif progress.state is ProgressState.REPLICATE and progress.inflight:
        previous_index = progress.next_index - 1
        previous_term = state.log.term_at(previous_index)
        if previous_term is None:
            _need_snapshot(state, progress)
            return
        send(state, progress.peer, Append(state.term, previous_index, previous_term, state.commit_index, ()))
        progress.silent_ticks = 0


def peer_unreachable(state: RaftState, peer: int) -> None:
    """The link was lost, and with it perhaps the appends under way: go back to what is known to have arrived."""
    progress = state.progress.get(peer)
    if progress is not None and progress.state is ProgressState.REPLICATE:
        progress.become_probe(progress.match_index + 1)
