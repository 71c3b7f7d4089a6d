"""Sending a snapshot to a peer whom the log cannot help any more, section by section, and receiving one.

    leader                                      follower
    sections_wanted (peer, index, 0)
    section_loaded ---- SnapshotSection 0 --->  sections_received; stores it
                   <--- SnapshotWanted 1 -----  section_stored
    ...
                   ---- SnapshotSection n --->  sections_received (last); verifies, loads
                   <--- SnapshotInstalled ----  snapshot_installed: the log restarts at its index
    probes from index + 1

One section is under way at a time, so a lost one is asked for again after a silence. Nothing here counts
towards anything: what the follower has is counted when it answers the append that follows.

A snapshot that meets newer entries must not replace them. Three times it is looked at whether the log has the
entry ``(meta.index, meta.term)`` already, or has committed past it: then all the snapshot could bring is
here. And while the shell loads the last section, appends are not taken and nothing is committed, so that this
cannot change:

1. The leader's snapshot at 100 is complete at follower F, whose shell begins to load it: half a second.
2. Meanwhile F would take entries up to 120 from a new leader, deliver them, and acknowledge them.
3. The shell is done: F's log restarts at 100. What it acknowledged is gone, and its store has gone back in
   time.
"""

from coord.api.checks import check
from coord.raft.commitment import commit_to
from coord.raft.configuration import is_well_formed
from coord.raft.membership_log import configurations_restarted_at
from coord.raft.messages import SnapshotInstalled, SnapshotRefused, SnapshotSection, SnapshotWanted
from coord.raft.persistence import send
from coord.raft.progress import Progress, ProgressState
from coord.raft.state import IncomingSnapshot, RaftState
from coord.raft.types import SnapshotMeta

# -- the leader ----------------------------------------------------------------------------------------------------


def _sending_to(state: RaftState, peer: int, snapshot_index: int) -> Progress | None:
    """The progress of ``peer`` if this very snapshot is on its way there."""
    progress = state.progress.get(peer)
    if progress is None or progress.snapshot is None or progress.snapshot.index != snapshot_index:
        return None
    return progress


def section_loaded(
    state: RaftState, peer: int, snapshot_index: int, section: int, data: bytes, last: bool
) -> None:
    """The shell has read a section that was wanted; if it still is, it goes."""
    progress = _sending_to(state, peer, snapshot_index)
    if progress is not None and progress.snapshot is not None and progress.snapshot_section == section:
        send(state, peer, SnapshotSection(state.term, progress.snapshot, section, data, last))


def section_missing(state: RaftState, peer: int, snapshot_index: int) -> None:
    """The shell no longer has that snapshot: begin again, with the newest."""
    progress = _sending_to(state, peer, snapshot_index)
    if progress is not None:
        _begin_again(progress)


def _begin_again(progress: Progress) -> None:
    """Probe when it next answers a heartbeat, which leads to a snapshot again if it is still needed."""
    progress.become_probe(progress.match_index + 1)
    progress.probe_sent = True
    progress.silent_ticks = 0


def handle_snapshot_wanted(state: RaftState, sender: int, message: SnapshotWanted) -> None:
    progress = _sending_to(state, sender, message.snapshot_index)
    if progress is None:
        return
    progress.reachable = True
    if message.section > progress.snapshot_section or message.section == 0:
        progress.snapshot_section = message.section
        progress.silent_ticks = 0
        state.outputs.sections_wanted.append((sender, message.snapshot_index, message.section))


def handle_snapshot_installed(state: RaftState, sender: int, message: SnapshotInstalled) -> None:
    progress = _sending_to(state, sender, message.snapshot_index)
    if progress is not None:
        progress.reachable = True
        progress.become_probe(message.snapshot_index + 1)


def handle_snapshot_refused(state: RaftState, sender: int, message: SnapshotRefused) -> None:
    progress = _sending_to(state, sender, message.snapshot_index)
    if progress is not None:
        progress.reachable = True
        _begin_again(progress)


def tick_snapshot(state: RaftState, progress: Progress) -> None:
    """Ask for the section again after an election timeout of silence: it or its answer may be lost."""
    if progress.snapshot is not None and progress.silent_ticks >= state.settings.election_ticks:
        progress.silent_ticks = 0
        state.outputs.sections_wanted.append(
            (progress.peer, progress.snapshot.index, progress.snapshot_section)
        )


def kept_for_peers(state: RaftState, keep_from: int) -> int:
    """How far the log may really be compacted: what a peer needs after the snapshot that it is getting is kept.

    Else a peer that takes longer over a snapshot than the leader over the next one would never be done. A peer
    that is silent for an election timeout loses the privilege (leading.py).
    """
    for progress in state.peers:
        if progress.state is ProgressState.SNAPSHOT and progress.snapshot is not None:
            keep_from = min(keep_from, progress.snapshot.index + 1)
    return keep_from


# -- the follower --------------------------------------------------------------------------------------------------


def handle_snapshot_section(state: RaftState, sender: int, message: SnapshotSection) -> None:
    meta = message.meta
    incoming = state.incoming
    if incoming is not None and incoming.installing:
        return
    if meta.index < 1 or meta.term > message.term or not is_well_formed(meta.configuration):
        return  # no leader makes such a message
    if meta.index <= state.commit_index or state.log.term_at(meta.index) == meta.term:
        # We have what it stands for, and perhaps more. It is committed, or nobody could have made a snapshot of it.
        commit_to(state, max(meta.index, state.commit_index))
        state.verified_index = max(state.verified_index, meta.index)
        state.incoming = None
        send(state, sender, SnapshotInstalled(state.term, meta.index))
        return
    if incoming is None or (incoming.sender, incoming.term, incoming.meta) != (sender, state.term, meta):
        if message.section != 0:
            send(state, sender, SnapshotWanted(state.term, meta.index, 0))  # a restart forgot the ones before
            return
        state.incoming = incoming = IncomingSnapshot(sender, state.term, meta)
    if incoming.awaiting_store:
        return  # a repetition of what is being stored
    if message.section == incoming.next_section:
        incoming.awaiting_store = True
        incoming.installing = message.last
        state.outputs.sections_received.append((meta, message.section, message.data, message.last))
    elif message.section < incoming.next_section:
        send(state, sender, SnapshotWanted(state.term, meta.index, incoming.next_section))


def section_stored(state: RaftState, meta: SnapshotMeta, section: int) -> None:
    """The shell has stored a section that was not the last."""
    incoming = state.incoming
    if (
        incoming is None
        or incoming.installing
        or not incoming.awaiting_store
        or incoming.meta != meta
        or incoming.next_section != section
    ):
        return  # of a transfer that was broken off
    incoming.awaiting_store = False
    incoming.next_section += 1
    send(state, incoming.sender, SnapshotWanted(state.term, meta.index, incoming.next_section))


def snapshot_installed(state: RaftState, meta: SnapshotMeta) -> None:
    """The whole snapshot is durable and loaded, and the log on disk restarted at its index: here too."""
    incoming = state.incoming
    check(
        incoming is not None and incoming.installing and incoming.meta == meta,
        "a snapshot is installed when its last section was handed out",
        meta.index,
    )
    check(
        meta.index > state.commit_index,
        "a snapshot never takes the store back in time",
        meta,
        state.commit_index,
    )
    state.log.restart_at(meta.index, meta.term)
    state.snapshot = meta
    state.commit_index = meta.index
    state.delivered_index = meta.index
    configurations_restarted_at(state, meta)
    if incoming is not None:
        _tell_sender(state, incoming, SnapshotInstalled(state.term, meta.index))
        if incoming.term == state.term:
            state.verified_index = max(state.verified_index, meta.index)
    state.incoming = None


def snapshot_refused(state: RaftState, meta: SnapshotMeta) -> None:
    """The shell found that what arrived is not what was sent."""
    incoming = state.incoming
    if incoming is not None and incoming.meta == meta:
        _tell_sender(state, incoming, SnapshotRefused(state.term, meta.index))
        state.incoming = None


def _tell_sender(
    state: RaftState, incoming: IncomingSnapshot, message: SnapshotInstalled | SnapshotRefused
) -> None:
    """Only in its own term: to the leader of another one this transfer means nothing."""
    if incoming.term == state.term:
        send(state, incoming.sender, message)
