"""Watches of this member's clients: who is to be told of a change.

A look-up by path for each change: the znode's own watches, its parent's, and those of every path above it
for subtrees. Cost grows with the depth of the path and the watches that match, not with all watches.

Changes of claims have tables of their own, of those watches that asked for them, and one by session: a thousand who
wait for one znode cost its changes nothing, and each is told of its own grant by one look-up.
"""

from collections.abc import Iterator
from typing import Final, TypeVar

from coord.api.events import DELETED, WITHDRAWN, Change, Revision
from coord.api.ops import WATCH_CLAIMS, WatchScope
from coord.api.paths import ROOT, ancestors, is_below, parent
from coord.wire.cbor import dumps
from coord.wire.client_frames import EventGroup
from coord.wire.event_frames import EncodedGroup, Event, Numbers, encode_numbers, encode_told

ZNODE, CHILDREN, SUBTREE = int(WatchScope.ZNODE), int(WatchScope.CHILDREN), int(WatchScope.SUBTREE)
CLAIMS = int(WatchScope.CLAIMS)


class Watcher:
    """One watch of one connection.

    Invariant: everything it wants in revisions below ``next_revision`` was told; ``live`` means that it is told of
    new revisions as they are applied, otherwise it is still being told the past.
    """

    __slots__ = ("claims", "connection", "live", "next_revision", "number", "path", "scope", "session")

    def __init__(
        self, connection: int, number: int, path: str, scope: int, next_revision: int, session: int = 0
    ) -> None:
        self.connection = connection
        self.number = number
        self.path = path
        self.scope = scope & ~WATCH_CLAIMS
        self.claims = bool(scope & WATCH_CLAIMS)
        """Whether it is told of claims, too."""
        self.session = session
        """Whose claims, for the scope CLAIMS."""
        self.next_revision = next_revision
        self.live = False

    def wants(self, change: Change) -> bool:
        """Whether ``change`` concerns this watch."""
        kind, path = change[0], change[1]
        if self.scope == CLAIMS:
            return DELETED < kind <= WITHDRAWN and change[4] == self.session
        if kind > DELETED and not self.claims:
            return False
        if self.scope == ZNODE:
            return path == self.path
        if self.scope == CHILDREN:
            return path != ROOT and parent(path) == self.path
        return path == self.path or is_below(path, self.path)


class Place:
    """The watches of one connection at one place: of one path and scope, or of one session's claims."""

    __slots__ = ("first", "last", "numbers", "watchers")

    def __init__(self) -> None:
        self.watchers: dict[int, Watcher] = {}
        """By number."""
        self.numbers: Numbers = (0, b"")
        """Of the live ones that want what happens at the revisions ``[first, last]``: made once, and not for each
        event."""
        self.first, self.last = 1, 0

    def forget(self) -> None:
        """One came, went, or became live."""
        self.first, self.last = 1, 0

    def look(self, revision: int) -> Numbers:
        """Make ``numbers`` right for ``revision``."""
        live = [watcher for watcher in self.watchers.values() if watcher.live]
        wanting = [watcher.number for watcher in live if revision >= watcher.next_revision]
        self.numbers = (len(wanting), encode_numbers(wanting))
        # All of them, and so from now on; or else: 1. A client saw revision 9 at another member, and watches from 10 on
        # here, where 7 is the last. 2. It is live at once, for there is no past to be told. 3. Here comes 8.
        self.first, self.last = revision, (NO_END if len(wanting) == len(live) else revision)
        return self.numbers


NO_END: Final = 2**63

MATCHES_MAX: Final = 100_000
"""Events of one revision times watches of one connection that each is for. Beyond: the connection is cut. Twenty
thousand watches of one path and a revision of ten thousand changes there would keep all clients waiting for minutes."""

_Table = dict[str, dict[int, Place]]
"""Path -> connection -> its watches there."""
_Tables = dict[int, _Table]
"""By scope."""


class _Told:
    """What some connections are told of one revision so far: one event more than those ``before``."""

    __slots__ = ("_group", "before", "event", "matches")

    def __init__(self, before: "_Told | None", event: Event) -> None:
        self.before = before
        self.event = event
        self.matches: int = event[1][0] + (0 if before is None else before.matches)
        """Events times watches."""
        self._group: EncodedGroup | None = None

    def group(self, revision: int, wall_ms: int) -> EncodedGroup | None:
        """``None``: too much."""
        if self._group is None and self.matches <= MATCHES_MAX:
            events = []
            told: _Told | None = self
            while told is not None:
                events.append(told.event)
                told = told.before
            events.reverse()
            self._group = encode_told(revision, wall_ms, events)
        return self._group


class Watches:
    """All watches, by what they are about and by whose they are."""

    __slots__ = ("_by_connection", "_by_session", "_count", "_of_claims", "_tables", "replaying")

    def __init__(self) -> None:
        self._tables: _Tables = {ZNODE: {}, CHILDREN: {}, SUBTREE: {}}
        self._of_claims: _Tables = {ZNODE: {}, CHILDREN: {}, SUBTREE: {}}
        """Those that are told of claims, too; they are in both."""
        self._by_session: dict[int, dict[int, Place]] = {}
        """Session -> connection -> those with the scope CLAIMS."""
        self._by_connection: dict[int, dict[int, Watcher]] = {}
        self._count = 0
        self.replaying: dict[tuple[int, int], Watcher] = {}
        """Those that are not live yet."""

    def __len__(self) -> int:
        return self._count

    def __bool__(self) -> bool:
        return bool(self._by_connection)

    def __iter__(self) -> Iterator[Watcher]:
        for watchers in self._by_connection.values():
            yield from watchers.values()

    def get(self, connection: int, number: int) -> Watcher | None:
        return self._by_connection.get(connection, {}).get(number)

    def add(self, watcher: Watcher) -> None:
        """Add a watch, not live yet; its number must be free on its connection."""
        if watcher.scope == CLAIMS:
            _put(self._by_session, watcher.session, watcher)
        else:
            _put(self._tables[watcher.scope], watcher.path, watcher)
            if watcher.claims:
                _put(self._of_claims[watcher.scope], watcher.path, watcher)
        self._by_connection.setdefault(watcher.connection, {})[watcher.number] = watcher
        self.replaying[(watcher.connection, watcher.number)] = watcher
        self._count += 1

    def make_live(self, watcher: Watcher) -> None:
        """It was told the past."""
        del self.replaying[(watcher.connection, watcher.number)]
        self._set_live(watcher, True)

    def make_replaying(self, watcher: Watcher) -> None:
        """It is live, and is to be told the past again, from its ``next_revision`` on."""
        self.replaying[(watcher.connection, watcher.number)] = watcher
        self._set_live(watcher, False)

    def remove(self, watcher: Watcher) -> None:
        if watcher.scope == CLAIMS:
            _take(self._by_session, watcher.session, watcher)
        else:
            _take(self._tables[watcher.scope], watcher.path, watcher)
            if watcher.claims:
                _take(self._of_claims[watcher.scope], watcher.path, watcher)
        numbers = self._by_connection[watcher.connection]
        del numbers[watcher.number]
        if not numbers:
            del self._by_connection[watcher.connection]
        self.replaying.pop((watcher.connection, watcher.number), None)
        self._count -= 1

    def remove_connection(self, connection: int) -> None:
        for watcher in list(self._by_connection.get(connection, {}).values()):
            self.remove(watcher)

    def groups(self, revision: Revision) -> dict[int, EncodedGroup | None]:
        """What to tell each connection of a new revision; live watches only. ``None``: more than ``MATCHES_MAX``.

        A group is encoded once for all connections that are told the same, which mostly are all that are told
        anything: the first watches of ten thousand clients have the same numbers. Where they differ, the change is
        encoded once, and the numbers when the watches come.
        """
        if not self._by_connection:
            return {}
        number, _, wall_ms, changes = revision
        told: dict[int, _Told] = {}
        alike: dict[tuple[_Told | None, Event], _Told] = {}
        for change in changes:
            matches = self._matches(change, number)
            if not matches:
                continue
            encoded = dumps(change)
            for connection, numbers in matches.items():
                before = told.get(connection)
                if before is not None and before.matches > MATCHES_MAX:
                    continue
                key = (before, (encoded, numbers))
                after = alike.get(key)
                if after is None:
                    after = alike[key] = _Told(*key)
                told[connection] = after
        return {connection: each.group(number, wall_ms) for connection, each in told.items()}

    def _matches(self, change: Change, revision: int) -> dict[int, Numbers]:
        """By connection: the numbers of the live watches that want ``change`` at ``revision``."""
        path = change[1]
        tables = self._tables if change[0] <= DELETED else self._of_claims
        hit = [tables[ZNODE].get(path)]
        if DELETED < change[0] <= WITHDRAWN:
            hit.append(self._by_session.get(change[4]))
        if path != ROOT and tables[CHILDREN]:
            hit.append(tables[CHILDREN].get(parent(path)))
        subtrees = tables[SUBTREE]
        if subtrees:
            hit.append(subtrees.get(path))
            hit.extend(subtrees.get(above) for above in ancestors(path))
        matches: dict[int, Numbers] = {}
        for at_path in hit:
            if at_path:
                for connection, place in at_path.items():
                    right = place.first <= revision <= place.last
                    numbers = place.numbers if right else place.look(revision)
                    if numbers[0]:
                        if connection in matches:
                            count, items = matches[connection]
                            numbers = (count + numbers[0], items + numbers[1])
                        matches[connection] = numbers
        return matches

    def _set_live(self, watcher: Watcher, live: bool) -> None:
        watcher.live = live
        connection = watcher.connection
        if watcher.scope == CLAIMS:
            self._by_session[watcher.session][connection].forget()
        else:
            self._tables[watcher.scope][watcher.path][connection].forget()
            if watcher.claims:
                self._of_claims[watcher.scope][watcher.path][connection].forget()


_Key = TypeVar("_Key", str, int)


def _put(table: dict[_Key, dict[int, Place]], key: _Key, watcher: Watcher) -> None:
    # It is not live yet: what the place knows of its live ones stays right.
    table.setdefault(key, {}).setdefault(watcher.connection, Place()).watchers[watcher.number] = watcher


def _take(table: dict[_Key, dict[int, Place]], key: _Key, watcher: Watcher) -> None:
    at_key = table[key]
    place = at_key[watcher.connection]
    del place.watchers[watcher.number]
    place.forget()
    if not place.watchers:
        del at_key[watcher.connection]
        if not at_key:
            del table[key]


def replay_group(watcher: Watcher, revision: Revision) -> EventGroup | None:
    """What to tell ``watcher`` of a past revision; ``None``: nothing in it concerns it."""
    number, _, wall_ms, changes = revision
    events: list[tuple[Change, list[int]]] = [
        (change, [watcher.number]) for change in changes if watcher.wants(change)
    ]
    return EventGroup(number, wall_ms, events) if events else None
