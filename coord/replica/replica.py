"""One member's whole mind: ``step(inputs)``, then ``take_outputs()``.

No clock, no dice, no IO, no tasks: two shells drive the same object, the server and the simulator. A step
takes everything that has arrived, and what is asked of Raft, the disk and the clients is asked once for
all of it: one entry, one batch for the disk, one message for each peer, one frame for each client.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from coord.api.checks import check
from coord.api.errors import SessionEnded
from coord.raft.outputs import Outputs as RaftOutputs
from coord.raft.raft import Raft
from coord.raft.roles import Role
from coord.raft.types import Entry, HardState, SnapshotMeta
from coord.replica import clients, leading, signing
from coord.replica.applying import apply_committed, begin_snapshot, commit
from coord.replica.inputs import (
    Backlog,
    ClientConnected,
    ClientLost,
    FromClient,
    FromPeer,
    GoOn,
    Input,
    Outputs,
    PeerDown,
    PeerLost,
    Persisted,
    SectionLoaded,
    SectionStored,
    Signer,
    SnapshotRejected,
    SnapshotSaved,
    SnapshotSectionSaved,
    SnapshotStored,
    Tick,
    TokenKeyMade,
)
from coord.replica.peers import ask_round, pass_on, receive_messages
from coord.replica.proposals import Proposals
from coord.replica.reads import ReadRounds, RevisionWaits
from coord.replica.serving import end_watches_by_gap, expire, expire_unsigned, replay, serve_in_turn
from coord.replica.settings import ReplicaSettings
from coord.replica.snapshots import SnapshotMaker, SnapshotTaker
from coord.replica.state import ReplicaState, Who, close, made_progress
from coord.replica.token_keys import TokenKeys
from coord.store.store import Store
from coord.wire.peer_frames import ReadGranted, ReadRefused

EXPIRY_TICKS: Final = 10
"""How often waiting reads and greetings are looked over for those that have waited too long."""

RESEND_DOUBLINGS: Final = 5
"""So often the wait before passing commands on anew doubles: with 50 ticks of 20 ms, from 1 s to half a minute."""

SETTLE_ROUNDS: Final = 100
"""A step settles in a few rounds; a hundred mean that something feeds itself."""


class Replica:
    """See the module. ``snapshot`` and ``store`` belong together: the store is what the snapshot held."""

    def __init__(
        self,
        who: Who,
        settings: ReplicaSettings,
        seed: int,
        hard_state: HardState,
        snapshot: SnapshotMeta,
        store: Store | None,
        entries: Sequence[Entry],
        recovering: bool = False,
        signer: Signer | None = None,
    ) -> None:
        store = store or Store(settings.limits)
        check(
            store.applied_index == snapshot.index,
            "the store is the snapshot's",
            store.applied_index,
            snapshot,
        )
        self._state = ReplicaState(
            who=who,
            settings=settings,
            raft=Raft(who.member, settings.raft, seed, hard_state, snapshot, entries, recovering),
            store=store,
            proposals=Proposals(who.boot, settings.entry_bytes, settings.transit_work_us),
            rounds=ReadRounds(who.boot),
            waits=RevisionWaits(),
            snapshot_maker=SnapshotMaker(settings, who.member),
            snapshot_taker=SnapshotTaker(settings.limits),
            token_keys=TokenKeys(signer),
            was_recovering=recovering,
        )

    @property
    def state(self) -> ReplicaState:
        """For looking at: status, metrics, a simulator's invariants."""
        return self._state

    def step(self, now_ms: int, wall_ms: int, inputs: Iterable[Input]) -> None:
        """Take ``inputs``, in order. ``now_ms`` is monotonic; ``wall_ms`` is for people and decides nothing."""
        state = self._state
        state.now_ms, state.wall_ms = now_ms, wall_ms
        if state.leases is not None:
            # Here, not just at ticks: who is heard of now is heard of now, not at the last tick. Else a session could
            # end that much before what its client was promised by the answer to its keepalive.
            state.leases.tick(now_ms)
        for each in inputs:
            _HANDLERS[type(each)](state, each)
        state.store.work.done = 0  # whatever came, this step goes on with what is left
        _settle(state)
        _serve_due(state)
        for connection in state.dirty:
            client = state.connections.get(connection)
            if client is not None and client.dirty:
                state.outputs.clients.append(client.take())
                if client.closing:
                    del state.connections[connection]
                elif client.deferred and not client.full:
                    clients.resume_deferred(state, client)
        state.dirty.clear()
        state.store.work.done = 0  # left to grow, it would make each state a new one (jepsen_like/scope)
        if state.committed or state.due or state.turns.count:
            state.outputs.go_on = True

    def take_outputs(self) -> Outputs:
        """Everything that should happen now, since the last call."""
        outputs, self._state.outputs = self._state.outputs, Outputs()
        return outputs


# --- settling: what Raft asks for, until it asks for nothing more ---------------------------------


def _settle(state: ReplicaState) -> None:
    for _ in range(SETTLE_ROUNDS):
        _notice_leader(state)
        if state.committed:
            apply_committed(state)
        if state.leads:
            leading.propose_gathered(state)
        else:
            pass_on(state)
        ask_round(state)
        outputs = state.raft.take_outputs()
        if not outputs:
            return
        _handle_raft(state, outputs)
        if not (state.proposals.has_new or state.rounds.wanted or leading.has_more(state)):
            return  # nothing that was done now gives Raft more to do
    check(False, "a step settles")


def _notice_leader(state: ReplicaState) -> None:
    """Another leader or another term: begin anew with it."""
    raft = state.raft
    leads = raft.role is Role.LEADER
    if (raft.term, raft.leader) == (state.term, state.leader) and leads == state.leads:
        return
    if state.leads:
        leading.end(state)
    state.term, state.leader = raft.term, raft.leader
    state.proposals.restart()
    state.rounds.give_up()
    state.rounds.resting = False
    made_progress(state)
    state.resends = 0
    if leads:
        leading.begin(state)
        state.touched.clear()


def _handle_raft(state: ReplicaState, outputs: RaftOutputs) -> None:
    if outputs.persist is not None:
        state.outputs.persists.append(outputs.persist)
    state.outputs.messages += outputs.messages
    state.outputs.sections_wanted += outputs.sections_wanted
    for meta, section, data, last in outputs.sections_received:
        if not last:  # the last one is the digest, which is the disk's business
            state.snapshot_taker.take(meta, section, data)
        state.outputs.sections_received.append((meta, section, data, last))
    if outputs.committed:
        commit(state, outputs.committed)
    for context, index in outputs.reads:
        _grant(state, context, index)
    for context in outputs.reads_refused:
        _refuse_round(state, context)
    if state.was_recovering and not state.raft.recovering:
        state.was_recovering = False
        state.outputs.recovered = True


def _grant(state: ReplicaState, context: int, index: int) -> None:
    asked = state.contexts.pop(context, None)
    if asked is None:
        return
    member, number = asked
    index = max(index, state.expire_index)
    if member == state.who.member:
        state.rounds.granted(number, index)
    else:
        state.outputs.messages.append((member, ReadGranted(number, index)))


def _refuse_round(state: ReplicaState, context: int) -> None:
    asked = state.contexts.pop(context, None)
    if asked is None:
        return
    member, number = asked
    if member == state.who.member:
        state.rounds.give_up(number)
    else:
        state.outputs.messages.append((member, ReadRefused(number)))


def _serve_due(state: ReplicaState) -> None:
    due, state.due = state.due, []
    due += state.rounds.take_due(state.store.applied_index)
    due += state.waits.take_due(state.store.revision)
    if due or state.turns.count:
        serve_in_turn(state, due)
    if state.watches.replaying:
        replay(state)


# --- inputs --------------------------------------------------------------------------------------


def _tick(state: ReplicaState, _: Tick) -> None:
    settings, raft = state.settings, state.raft
    state.ticks += 1
    raft.tick()
    _notice_leader(state)
    leading.tick(state)
    state.rounds.resting = False
    if state.rounds.under_way:
        state.rounds.asked_ticks += 1
        if state.rounds.asked_ticks > settings.round_ticks:
            state.rounds.give_up()
    if not state.proposals.pending_count or state.committed:
        made_progress(state)  # what is still to be applied here is not lost, and takes its time
    elif not state.leads and state.ticks - state.progress_tick > settings.resend_ticks << state.resends:
        # Twice as long each time. 1. The leader is overloaded, and takes longer than resend_ticks to commit what it
        # has; 2. all followers pass everything on again, which it takes for new; 3. it takes longer still, for ever.
        state.progress_tick = state.ticks
        state.resends = min(state.resends + 1, RESEND_DOUBLINGS)
        state.proposals.restart()
    if state.touched and not state.ticks % settings.touch_ticks and state.leader and not state.leads:
        touched = tuple(state.touched)
        state.touched.clear()
        state.outputs.messages.append((state.leader, state.proposals.touch_lot(touched)))
    if not state.ticks % EXPIRY_TICKS:
        before_ms = state.now_ms - settings.limits.read_wait_ms
        for waiting in state.rounds.take_expired(before_ms) + state.waits.take_expired(before_ms):
            expire(state, waiting)
        for waiting in state.token_keys.take_expired(before_ms):
            expire_unsigned(state, waiting)
        clients.expire_greetings(state, state.now_ms - settings.limits.handshake_wait_ms)
    signing.tick(state)
    _tick_snapshot(state)


def _tick_snapshot(state: ReplicaState) -> None:
    maker, store = state.snapshot_maker, state.store
    if maker.tick(len(store.tree.znodes), store.tree.data_bytes) and not state.raft.recovering:
        if store.underway is None:
            begin_snapshot(state)
        else:
            maker.due = True
    sections, ended = maker.take_sections(state.raft.persisted_index)
    state.outputs.snapshot_sections += sections
    state.outputs.snapshot_ended = state.outputs.snapshot_ended or ended


def _peer_lost(state: ReplicaState, lost: PeerLost) -> None:
    """What was on its way to the leader may not have arrived: pass it on again, rather than wait for the timeout."""
    state.raft.peer_unreachable(lost.peer)
    if lost.peer == state.leader:
        state.proposals.restart()
        state.rounds.give_up()


def _section_loaded(state: ReplicaState, loaded: SectionLoaded) -> None:
    if loaded.data is None:
        state.raft.section_missing(loaded.peer, loaded.snapshot_index)
    else:
        state.raft.section_loaded(
            loaded.peer, loaded.snapshot_index, loaded.section, loaded.data, loaded.last
        )


def _snapshot_stored(state: ReplicaState, stored: SnapshotStored) -> None:
    """The leader's snapshot takes the place of this replica's state: it was too far behind for the log."""
    store = state.snapshot_taker.finish(stored.meta)
    # The disk has it already, and its log starts after it: there is no way back, so no way on without it either.
    check(store is not None, "a snapshot that has the digest its sender gave it can be loaded", stored.meta)
    if store is None:
        return
    told_through = state.store.revision
    state.snapshot_maker.installed()
    state.committed.clear()  # it is in the snapshot, all of it
    state.committed_bytes = 0
    state.store = store
    state.raft.snapshot_installed(stored.meta)
    end_watches_by_gap(state, told_through + 1)
    for session, connection in list(state.attached.items()):
        if session not in store.sessions:
            close(state, state.connections[connection], SessionEnded(f"session {session} has ended"))
    state.proposals.part_is_gone()
    state.proposals.restart()  # what was pending may be in the snapshot: asked again, it is answered from there


def _snapshot_saved(state: ReplicaState, saved: SnapshotSaved) -> None:
    done = state.snapshot_maker.saved(saved.ok)
    if done is not None:
        meta, keep_from = done
        state.raft.compact(meta, keep_from)
        state.outputs.trim = (meta.index, keep_from)


_HANDLERS: Final[Mapping[type[Any], Callable[[ReplicaState, Any], None]]] = {
    Tick: _tick,
    FromPeer: lambda state, each: receive_messages(state, each.peer, each.messages),
    PeerLost: _peer_lost,
    PeerDown: lambda state, each: state.raft.peer_down(each.peer),
    Persisted: lambda state, each: state.raft.persisted(each.number),
    ClientConnected: lambda state, each: clients.connected(
        state, each.connection, each.secret, each.principal
    ),
    FromClient: lambda state, each: clients.received(state, each.connection, each.frame),
    ClientLost: lambda state, each: clients.lost(state, each.connection),
    Backlog: lambda state, each: clients.backlog(state, each.connection, each.full),
    SectionLoaded: _section_loaded,
    SectionStored: lambda state, each: state.raft.section_stored(each.meta, each.section),
    SnapshotStored: _snapshot_stored,
    SnapshotRejected: lambda state, each: state.raft.snapshot_refused(each.meta),
    SnapshotSaved: _snapshot_saved,
    SnapshotSectionSaved: lambda state, each: state.snapshot_maker.section_written(),
    GoOn: lambda state, each: None,  # what is left goes on in each step
    TokenKeyMade: lambda state, each: state.token_keys.replace(each.signer),
}
