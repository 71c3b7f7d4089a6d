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
from coord.wire.client_frames import EventGroup

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


MATCHES_MAX: Final = 100_000
"""Events of one revision times watches of one connection that each is for. Beyond: the connection is cut. Twenty
thousand watches of one path and a revision of ten thousand changes there would keep all clients waiting for minutes."""

_Table = dict[str, dict[int, dict[int, Watcher]]]
"""Path -> connection -> number -> watch."""
_Tables = dict[int, _Table]
"""By scope."""


class Watches:
    """All watches, by what they are about and by whose they are."""

    __slots__ = ("_by_connection", "_by_session", "_of_claims", "_tables", "replaying")

    def __init__(self) -> None:
        self._tables: _Tables = {ZNODE: {}, CHILDREN: {}, SUBTREE: {}}
        self._of_claims: _Tables = {ZNODE: {}, CHILDREN: {}, SUBTREE: {}}
        """Those that are told of claims, too; they are in both."""
        self._by_session: dict[int, dict[int, dict[int, Watcher]]] = {}
        """Session -> connection -> number -> watch, those with the scope CLAIMS."""
        self._by_connection: dict[int, dict[int, Watcher]] = {}
        self.replaying: dict[tuple[int, int], Watcher] = {}
        """Those that are not live yet."""

    def __len__(self) -> int:
        return sum(len(watchers) for watchers in self._by_connection.values())

    def __bool__(self) -> bool:
        return bool(self._by_connection)

    def __iter__(self) -> Iterator[Watcher]:
        for watchers in self._by_connection.values():
            yield from watchers.values()

    def get(self, connection: int, number: int) -> Watcher | None:
        return self._by_connection.get(connection, {}).get(number)

    def add(self, watcher: Watcher) -> None:
        """Add a watch, not live yet; its number must be free on its connection."""
        key = (watcher.connection, watcher.number)
        if watcher.scope == CLAIMS:
            _put(self._by_session, watcher.session, watcher)
        else:
            _put(self._tables[watcher.scope], watcher.path, watcher)
            if watcher.claims:
                _put(self._of_claims[watcher.scope], watcher.path, watcher)
        self._by_connection.setdefault(watcher.connection, {})[watcher.number] = watcher
        self.replaying[key] = watcher

    def make_live(self, watcher: Watcher) -> None:
        watcher.live = True
        del self.replaying[(watcher.connection, watcher.number)]

    def remove(self, watcher: Watcher) -> None:
        key = (watcher.connection, watcher.number)
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
        self.replaying.pop(key, None)

    def remove_connection(self, connection: int) -> None:
        for watcher in list(self._by_connection.get(connection, {}).values()):
            self.remove(watcher)

    def groups(self, revision: Revision) -> dict[int, EventGroup | None]:
        """What to tell each connection of a new revision; live watches only. ``None``: more than ``MATCHES_MAX``."""
        found: dict[int, EventGroup | None] = {}
        if not self._by_connection:
            return found
        number, _, wall_ms, changes = revision
        sizes: dict[int, int] = {}
        for change in changes:
            for connection, watch_numbers in self._matches(change, number, found).items():
                sizes[connection] = size = sizes.get(connection, 0) + len(watch_numbers)
                group = found.get(connection)
                if group is None:
                    group = found[connection] = EventGroup(number, wall_ms, [])
                group.events.append((change, watch_numbers))
                if size > MATCHES_MAX:
                    found[connection] = None
        return found

    def _matches(
        self, change: Change, revision: int, found: dict[int, EventGroup | None]
    ) -> dict[int, list[int]]:
        """``{connection: [watch number, …]}`` of the live watches that want ``change`` at ``revision``.

        Those of connections that are ``None`` in ``found`` are passed over.
        """
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
        matches: dict[int, list[int]] = {}
        for at_path in hit:
            if at_path:
                for connection, watchers in at_path.items():
                    if connection in found and found[connection] is None:
                        continue
                    numbers = [
                        watcher.number
                        for watcher in watchers.values()
                        if watcher.live and revision >= watcher.next_revision
                    ]
                    if numbers:
                        matches[connection] = matches.get(connection, []) + numbers
        return matches


_Key = TypeVar("_Key", str, int)


def _put(table: dict[_Key, dict[int, dict[int, Watcher]]], key: _Key, watcher: Watcher) -> None:
    table.setdefault(key, {}).setdefault(watcher.connection, {})[watcher.number] = watcher


def _take(table: dict[_Key, dict[int, dict[int, Watcher]]], key: _Key, watcher: Watcher) -> None:
    at_key = table[key]
    del at_key[watcher.connection][watcher.number]
    if not at_key[watcher.connection]:
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
