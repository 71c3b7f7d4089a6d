"""The oracle: a store beside all members' that is given each entry when it is first committed, and keeps everything.

What it did is the history's ``Committed`` records, and every member's store must look as the oracle's did at the same
index: cheaply after every step, by a digest of everything at some indexes.
"""

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from coord.api.commands import REQUESTS, Command
from coord.jepsen_like.history import Committed, Digest
from coord.limits import MemberLimits
from coord.raft.types import ENTRY_COMMANDS, Entry
from coord.store.store import Store
from coord.wire.entries import decode_entry

if TYPE_CHECKING:
    from coord.jepsen_like.sim.life import Life
    from coord.jepsen_like.sim.simulation import Simulation

DIGEST_EVERY: Final = 128
"""Entries: it is of everything, so it costs more than all the entries between."""

Look = tuple[int, ...]


def look_of(store: Store) -> Look:
    """A glance at a store: equal states, equal looks."""
    tree = store.tree
    return (
        store.revision, store.time_ms, store.next_session, len(store.sessions), len(tree.znodes), tree.data_bytes,
        len(tree.ephemerals), store.claims.next_claim, len(store.claims.by_number), len(store.fences.by_path),
    )  # fmt: skip


def digest_of(store: Store) -> str:
    """Of everything replicated. (History reaches back differently at each member, rightly so.)"""
    tree = store.tree
    state: list[Any] = [
        look_of(store),
        sorted(tree.znodes.items()),
        sorted((session, sorted(paths)) for session, paths in tree.ephemerals.items()),
        [
            (
                each.id, each.timeout_ms, each.secret_digest, each.principal, each.client, each.opened_ms, each.origin,
                each.confirmed, each.reply_bytes, [_plain(reply) for reply in each.replies.values()],
            )
            for _, each in sorted(store.sessions.items())
        ],
        store.limits,
        store.incarnation,
        sorted(store.openers.items()),
        store.claims.state(),
        sorted(store.fences.by_path.items()),
    ]  # fmt: skip
    return blake2b(repr(state).encode(), digest_size=12).hexdigest()


def tree_digest_of(store: Store) -> str:
    """Of what a revision decides: sessions and replies change without one."""
    return blake2b(repr(sorted(store.tree.znodes.items())).encode(), digest_size=12).hexdigest()


def _plain(value: Any) -> Any:
    """Lists and tuples are the same on the wire."""
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return sorted(value.items())
    return value


class Oracle:
    def __init__(self, sim: "Simulation") -> None:
        self._sim = sim
        self.store = Store(MemberLimits(history_revisions=1 << 30, history_bytes=1 << 40))
        self._looks: list[Look] = [look_of(self.store)]
        """``_looks[index]``."""
        self._digests: dict[int, str] = {}
        self._compared: dict[int, tuple[Store, int]] = {}
        """By member: its store, and the revision through which its history was compared."""

    def apply(self, entry: Entry, life: "Life") -> None:
        """An entry was committed for the first time, at ``life``."""
        store, sim = self.store, self._sim
        if entry.kind == ENTRY_COMMANDS and entry.data:
            time_ms, wall_ms, commands = decode_entry(entry.data)
            self._look_for_retries(commands)
            store.apply(entry.index, time_ms, wall_ms, commands)
        else:
            store.skip(entry.index)
        for revision, index, _, changes in store.take_fresh():
            sim.record(Committed(revision, index, changes, sim.agenda.now_ns))
            sim.claiming.applied(store, changes, life)
            sim.ageing.applied(store, changes)
        sim.claiming.after_entry(store)
        if entry.kind == ENTRY_COMMANDS and entry.data:
            sim.ageing.after_entry(store)
        for ended, reason in store.take_ended():
            sim.proofs.ended(ended, reason)
            sim.mark(f"session_{reason.name.lower()}")
        for session in store.tree.ephemerals:
            if session not in store.sessions:
                sim.broken(
                    "sessions", f"session {session} is over, and its ephemerals are there at {entry.index}"
                )
        for session in store.claims.by_session:
            if session not in store.sessions:
                sim.broken(
                    "sessions", f"session {session} is over, and its claims are there at {entry.index}"
                )
        self._looks.append(look_of(store))
        if entry.index % DIGEST_EVERY == 0:
            self._digests[entry.index] = digest_of(store)

    def _look_for_retries(self, commands: list[Command]) -> None:
        for command in commands:
            session = self.store.sessions.get(command[1]) if command[0] == REQUESTS else None
            if session is not None and any(request in session.replies for request, _ in command[3]):
                self._sim.mark("retry_answered")

    def compare(self, life: "Life") -> None:
        """Does a member's store look as it must?"""
        assert life.replica is not None
        store, sim = life.replica.state.store, self._sim
        index = store.applied_index
        if index >= len(self._looks):
            sim.broken(
                "replication", f"member {life.member.number} has applied {index}, which is not committed"
            )
        elif store.underway is not None:
            # Of the next entry it has a part, up to a revision; all are alike again at its end. Its history is as long.
            sim.mark("entry_cut")
            self._compare_history(life)
        elif look_of(store) != self._looks[index]:
            sim.broken(
                "replication",
                f"member {life.member.number} differs at index {index}: {look_of(store)}, not {self._looks[index]}",
            )
        else:
            self._compare_history(life)
            if index in self._digests:
                self.compare_digest(life, self._digests[index])

    def _compare_history(self, life: "Life") -> None:
        """Watches are told of it, here or when it was handed on in a snapshot: equal states may have come about by
        unequal changes, or by equal ones in another order."""
        assert life.replica is not None
        store, sim, number = life.replica.state.store, self._sim, life.member.number
        known, through = self._compared.get(number, (None, 0))
        if known is store and through == store.revision:
            return
        self._compared[number] = store, store.revision
        history = store.history
        first = max(through + 1 if known is store else 1, history.first_revision)
        mine = history.since(first)
        theirs = self.store.history.since(first, len(mine))
        if history.last_revision != store.revision or (mine != theirs and _plain(mine) != _plain(theirs)):
            sim.broken("replication", f"member {number} tells another history of {first} to {store.revision}")
        elif len(history) < min(store.revision, sim.world.history_revisions):
            what = f"member {number} has {len(history)} revisions of its past, at revision {store.revision}"
            sim.broken("bounds", f"{what}; it is to keep {sim.world.history_revisions}")

    def compare_digest(self, life: "Life", expected: str) -> None:
        assert life.replica is not None
        store, sim = life.replica.state.store, self._sim
        sim.record(Digest(life.member.number, store.revision, tree_digest_of(store), sim.agenda.now_ns))
        if digest_of(store) != expected:
            sim.broken("replication", f"member {life.member.number} differs at index {store.applied_index}")

    def digest(self) -> str:
        return digest_of(self.store)
