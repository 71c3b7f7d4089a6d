"""What must hold of all members together, watched by an observer who forgets nothing.

The names are those of the thesis (figure 3.2) where it has one. The quorum arithmetic is written out here once more: a
judge that borrowed the core's would be wrong together with it.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from coord.jepsen_like.scope.member import CoreMember, digest_of
from coord.jepsen_like.scope.model import Broken
from coord.raft.configuration import decode_configuration
from coord.raft.roles import Role
from coord.raft.types import ENTRY_CONFIGURATION, Configuration, Entry


class Committed(NamedTuple):
    """An entry, and the term of the leader that first committed it."""

    entry: Entry
    by_term: int


class Memory(NamedTuple):
    """The observer's. Small, for it is part of every state."""

    leaders: tuple[tuple[int, int], ...] = ()
    """``(term, member)``, ascending."""
    committed: tuple[Committed, ...] = ()
    """From index 1 on."""
    floors: tuple[tuple[int, int], ...] = ()
    """``(read, what was committed by anyone when it was asked for)``."""
    would_vote: tuple[tuple[int, int, int], ...] = ()
    """``(term, candidate, who said to it that it would vote for it)``; only where there are pre-votes."""


def is_quorum(configuration: Configuration, members: set[int]) -> bool:
    """More than half of the voters, and, if there are any, more than half of the outgoing ones."""
    return all(
        2 * len(members.intersection(group)) > len(group)
        for group in (configuration.voters, configuration.outgoing)
        if group
    )


def quorums_intersect(one: Configuration, other: Configuration) -> bool:
    """Whether no quorum of ``one`` can act without a member of any quorum of ``other``."""
    everybody = sorted({*one.voters, *one.outgoing, *other.voters, *other.outgoing})
    for bits in range(1 << len(everybody)):
        inside = {member for place, member in enumerate(everybody) if bits >> place & 1}
        if is_quorum(one, inside) and is_quorum(other, set(everybody) - inside):
            return False
    return True


class Judge:
    """Judges what happened; remembers which pairs of logs it has compared already."""

    def __init__(self, disks_may_be_lost: bool) -> None:
        self._disks_may_be_lost = disks_may_be_lost
        self._matching: set[tuple[Any, Any]] = set()
        self._intersecting: dict[tuple[Configuration, Configuration], bool] = {}

    def judge(
        self,
        memory: Memory,
        members: Sequence[CoreMember],
        number: int,
        before: CoreMember,
        events: Sequence[tuple[Any, ...]],
    ) -> Memory:
        member = members[number - 1]
        for event in events:
            kind = event[0]
            if kind == "leads":
                memory = self._leads(memory, member, event[1])
            elif kind == "committed":
                memory = self._committed(memory, members, member, before, *event[1:])
            elif kind == "installed":
                self._installed(memory, event[1], event[2])
            elif kind == "asked":
                floors = {**dict(memory.floors), event[1]: len(memory.committed)}
                memory = memory._replace(floors=tuple(sorted(floors.items())))
            elif kind == "granted":
                memory = self._granted(memory, event[1], event[2])
            elif kind == "refused":
                memory = _without_floor(memory, event[1])
            elif kind == "would vote":
                said = {*memory.would_vote, (event[1], event[2], number)}
                memory = memory._replace(would_vote=tuple(sorted(said)))
            elif kind == "campaigns":
                self._campaigns(memory, before, event[1])
            elif kind == "changes":
                self._changes(memory, event[1])
        self._logs_match(members, member)
        self._acts_by_the_log(member)
        self._configurations_follow(memory, member)
        return memory

    def _leads(self, memory: Memory, member: CoreMember, term: int) -> Memory:
        leaders = dict(memory.leaders)
        if leaders.setdefault(term, member.number) != member.number:
            raise Broken(
                "election safety", f"members {leaders[term]} and {member.number} both lead term {term}"
            )
        for committed in memory.committed:
            if committed.by_term < term and not _has(member, committed.entry):
                raise Broken(
                    "leader completeness",
                    f"member {member.number} leads term {term} without {committed.entry}, "
                    f"which term {committed.by_term} committed",
                )
        return memory._replace(leaders=tuple(sorted(leaders.items())))

    def _campaigns(self, memory: Memory, candidate: CoreMember, term: int) -> None:
        """Nobody spends a term, and deposes a leader by it, before a quorum said that it would vote (thesis §9.6)."""
        number = candidate.number
        voters = {number} | {voter for of, to, voter in memory.would_vote if (of, to) == (term, number)}
        if not is_quorum(candidate.raft.configuration, voters):
            raise Broken("a quorum's pre-votes precede a campaign", f"member {number}, term {term}: {voters}")

    def _committed(
        self,
        memory: Memory,
        members: Sequence[CoreMember],
        member: CoreMember,
        before: CoreMember,
        entries: tuple[Entry, ...],
        term: int,
        leads: bool,
    ) -> Memory:
        known = memory.committed
        for entry in entries:
            if entry.index <= len(known):
                if known[entry.index - 1].entry != entry:
                    raise Broken(
                        "state machine safety",
                        f"member {member.number} applies {entry}, and it was {known[entry.index - 1].entry}",
                    )
                continue
            if entry.index != len(known) + 1:
                raise Broken("committed entries come in order", f"{entry} after {len(known)} that are known")
            known = (*known, Committed(entry, term))
            for other in members:
                raft = other.raft
                if raft.role is Role.LEADER and raft.term > term and not _has(other, entry):
                    raise Broken(
                        "leader completeness",
                        f"{entry} is committed in term {term}, and member {other.number} leads term "
                        f"{raft.term} without it",
                    )
            if leads and not self._disks_may_be_lost:
                self._quorum_has_it(members, member, before, entry)
        return memory._replace(committed=known)

    def _quorum_has_it(
        self, members: Sequence[CoreMember], member: CoreMember, before: CoreMember, entry: Entry
    ) -> None:
        """A leader commits what a quorum of the configuration by which it counts has on disk."""
        acted = [before.raft.configuration]
        acted += [
            at.configuration
            for at in member.raft._state.configurations
            if at.log_index > before.raft._state.configuration_index
        ]
        holders = {
            other.number
            for other in members
            if entry.index <= other.disk.start_index or other.disk.entry_at(entry.index) == entry
        }
        if not any(is_quorum(configuration, holders) for configuration in acted):
            raise Broken(
                "what is committed is on a quorum's disks", f"{entry}: on {sorted(holders)} of {acted}"
            )

    def _installed(self, memory: Memory, meta: Any, content: bytes) -> None:
        """A snapshot holds a prefix of what was committed."""
        if meta.index > len(memory.committed) or memory.committed[meta.index - 1].entry.term != meta.term:
            raise Broken("a snapshot holds what was committed", f"{meta}")
        digest = b""
        for committed in memory.committed[: meta.index]:
            digest = digest_of(digest, committed.entry)
        if digest != content:
            raise Broken("a snapshot holds what was committed", f"{meta}: another content")

    def _granted(self, memory: Memory, context: int, index: int) -> Memory:
        floor = dict(memory.floors).get(context, 0)
        if index < floor:
            raise Broken(
                "a read sees all that was committed before it was asked for",
                f"read {context} may be served at {index}, and {floor} was committed",
            )
        return _without_floor(memory, context)

    def _logs_match(self, members: Sequence[CoreMember], member: CoreMember) -> None:
        """Two logs that share an entry's name share it and all before it."""
        log = member.raft._state.log
        mine = (log.boundary_index, log.boundary_term, tuple(log._entries))
        for other in members:
            if other is member:
                continue
            log = other.raft._state.log
            pair = (mine, (log.boundary_index, log.boundary_term, tuple(log._entries)))
            if pair not in self._matching:
                _check_match(*pair)
                self._matching.add(pair)

    def _changes(self, memory: Memory, term: int) -> None:
        """What leads, and does not know yet all that was ever committed, changes no members (thesis §4.1, note)."""
        if all(committed.entry.term != term for committed in memory.committed):
            raise Broken("a change follows an entry of its leader's term", f"in term {term}")

    def _acts_by_the_log(self, member: CoreMember) -> None:
        """The configurations that a member goes by are those of its log, above its snapshot; the last one acts."""
        state = member.raft._state
        after = state.snapshot.index
        known = [tuple(at) for at in state.configurations if at.log_index > after]
        written = [
            (entry.index, decode_configuration(entry.data))
            for entry in state.log._entries
            if entry.kind == ENTRY_CONFIGURATION and entry.index > after
        ]
        if known != written or state.configuration != state.configurations[-1].configuration:
            raise Broken(
                "a member acts by the last configuration in its log",
                f"member {member.number} goes by {state.configurations}, and its log has {written}",
            )

    def _configurations_follow(self, memory: Memory, member: CoreMember) -> None:
        """Each configuration's quorums meet the former one's; and at most one is not known to be committed."""
        configurations = member.raft._state.configurations
        if len(configurations) < 2:
            return
        for one, other in pairwise(configurations):
            pair = (one.configuration, other.configuration)
            if not one.configuration.voters:
                continue  # of a member that waited to be added
            if pair not in self._intersecting:
                self._intersecting[pair] = quorums_intersect(*pair)
            if not self._intersecting[pair]:
                raise Broken("quorums intersect", f"{pair[0]} is followed by {pair[1]}")
        open_changes = [at for at in configurations if at.log_index > len(memory.committed)]
        if len(open_changes) > 1:
            raise Broken("one change at a time", f"member {member.number} has {open_changes}, not committed")


def _has(member: CoreMember, entry: Entry) -> bool:
    log = member.raft._state.log
    if entry.index <= log.boundary_index:
        return True
    return entry.index <= log.last_index and log.slice(entry.index, entry.index)[0] == entry


def _without_floor(memory: Memory, context: int) -> Memory:
    return memory._replace(floors=tuple([floor for floor in memory.floors if floor[0] != context]))


def _check_match(one: tuple[int, int, tuple[Entry, ...]], other: tuple[int, int, tuple[Entry, ...]]) -> None:
    by_index = {entry.index: entry for entry in one[2]}
    shared = [(by_index[entry.index], entry) for entry in other[2] if entry.index in by_index]
    equal_from_here_down = False
    for mine, theirs in reversed(shared):
        if mine != theirs and (equal_from_here_down or mine.term == theirs.term):
            raise Broken("log matching", f"{mine} and {theirs}")
        equal_from_here_down = equal_from_here_down or mine.term == theirs.term
