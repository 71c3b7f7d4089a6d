"""The log once more, through the model: is every answer that a client got the one of its revision?

Where the history has a log (``Committed`` records) that is what is replayed, and it must itself be what the operations
in it do. Where it has none, the writes that were acknowledged are; see :mod:`~coord.jepsen_like.checkers.fog`.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from coord.api.events import (
    CHANGED,
    CLAIMED,
    CONFIGURED,
    CREATED,
    DELETED,
    QUEUED,
    RELEASED,
    WITHDRAWN,
    Change,
)
from coord.api.ops import Claim, ClaimSettings, Create, Kind
from coord.api.paths import ancestors
from coord.jepsen_like.checkers.about import about_claims, parts, plain
from coord.jepsen_like.checkers.answers import matches
from coord.jepsen_like.checkers.fog import Fog
from coord.jepsen_like.checkers.log import Log, changes_something
from coord.jepsen_like.checkers.model import TREE_ERRORS, Refused, Tree, same_changes
from coord.jepsen_like.history import Committed, Operation, Record

FINDINGS_MAX: Final = 20
"""Of one replay: once the state is wrong, all that follows is."""


class Finding(NamedTuple):
    what: str
    places: tuple[int, ...]


Answer: TypeAlias = tuple[int, int, Operation, bool]
"""``(revision, place, operation, it made that revision)`` of an operation that was answered from the tree's state."""


def answered(records: Sequence[Record]) -> list[Answer]:
    """The operations that show a revision: done, or refused for what the tree was."""
    found: list[Answer] = []
    for place, each in enumerate(records):
        if type(each) is not Operation or each.revision is None:
            continue
        if each.outcome == "ok":
            found.append((each.revision, place, each, each.mode == "write" and changes_something(each)))
        elif each.outcome == "refused" and each.error in TREE_ERRORS:
            found.append((each.revision, place, each, False))
    return found


class Replay:
    """One pass. ``modes``: of the operations whose answers are compared. All writes are replayed in any case."""

    def __init__(
        self,
        records: Sequence[Record],
        log: Log,
        modes: frozenset[str],
        answers: list[Answer] | None = None,
    ) -> None:
        self.tree = Tree()
        self.findings: list[Finding] = []
        self._modes = modes
        self._log = log
        self._fog = Fog()
        self._revision = 0
        self._writers: dict[int, Answer] = {}
        self._observers: list[Answer] = []
        self._unknown: list[Operation] = []
        self._claims: dict[int, str] = {}
        """Number -> path, of those that are held or wait."""
        self._settings: dict[str, None] = {}
        """Paths with settings of their own."""
        self._by_request: dict[tuple[int, int], tuple[int, Operation]] = {}
        for place, each in enumerate(records):
            if type(each) is Operation and each.request:
                self._by_request[(each.session, each.request)] = (place, each)
                if each.outcome == "unknown":
                    self._unknown.append(each)
        for answer in answered(records) if answers is None else answers:
            if answer[3]:
                before = self._writers.setdefault(answer[0], answer)
                if before is not answer:
                    self._find(f"two writes made revision {answer[0]}", before[1], answer[1])
            elif answer[2].mode in modes and not about_claims(answer[2].op):
                self._observers.append(answer)
        self._observers.sort(key=_revision)

    def run(self) -> list[Finding]:
        """Everything; the findings, :data:`FINDINGS_MAX` at most."""
        for _ in self.steps():
            if len(self.findings) >= FINDINGS_MAX:
                break
        return self.findings

    def steps(self) -> Iterator[int]:
        """Replay; yields each revision when ``tree`` stands at it."""
        observers, at = self._observers, 0
        log = self._log
        for revision in sorted({*self._writers, *log.entries}):
            while at < len(observers) and observers[at][0] < revision:
                self._observe(observers[at])
                at += 1
            if revision != self._revision + 1:
                self._skip(revision - 1)
            self._revision = revision
            entry = log.entries.get(revision)
            if entry is None:
                self._write(self._writers[revision])
            else:
                self._follow(entry)
                if self._claims or revision in self._log.of_claims:
                    self._keep(entry)
            yield revision
        for each in observers[at:]:
            self._observe(each)

    # --- one step ---

    def _observe(self, answer: Answer) -> None:
        revision, place, operation, _ = answer
        if revision > self._revision:
            if self._log.covers(revision):
                self._find(f"it shows revision {revision}, and the log ends at {self._log.last}", place)
                return
            self._skip(revision)
        op = plain(operation.op)
        if self._fog and self._fog.hides(op):
            return
        if operation.outcome == "refused":
            found = self.tree.refusal(op, operation.session, revision + 1)
            if found != operation.error and not self.tree.unsure:
                self._find(
                    f"{_shown(op)} was refused with {operation.error}; at revision {revision} it is "
                    f"{found or 'done'}",
                    place,
                )
            return
        try:
            answer_is = self.tree.read(op)
        except Refused as refused:
            self._find(f"{_shown(op)} was answered; at revision {revision} it is {refused.slug}", place)
        else:
            self._compare(operation, answer_is, place)

    def _follow(self, entry: Committed) -> None:
        """Replay a revision that the log has."""
        revision, changes = entry.revision, entry.changes
        place = self._log.places[revision]
        session, request = (changes[0][4], changes[0][5]) if changes else (0, 0)
        found = self._by_request.get((session, request)) if request else None
        if found is None:
            if not changes and revision not in self._log.of_claims:
                self._find(f"revision {revision} changed nothing", place)
            for change in changes:
                self._tell(change, revision)
            return
        asked_at, operation = found
        op = plain(operation.op)
        if about_claims(op) or (self._fog and self._fog.hides(op)):
            self._guess(operation, revision, changes)
            return
        if self.tree.guessing:
            self.tree.refusal(op, session, revision)
            if self.tree.unsure:
                self._guess(operation, revision, changes)
                return
        try:
            answer_is = self.tree.write(op, session, revision)
        except Refused as refused:
            self._find(
                f"the log has {_shown(op)} at revision {revision}, where it is {refused.slug}",
                place,
                asked_at,
            )
            self._guess(operation, revision, changes)
            return
        if not same_changes(self.tree.changes, changes, session, request):
            self._find(
                f"at revision {revision} the log says that {_shown(op)} did {_changes(changes)}; it does "
                f"{_changes(self.tree.changes)}",
                place,
                asked_at,
            )
        if operation.outcome == "ok" and operation.mode in self._modes:
            self._compare(operation, answer_is, asked_at)

    def _write(self, answer: Answer) -> None:
        """Replay a write that was acknowledged, and of which no log tells."""
        revision, place, operation, _ = answer
        op = plain(operation.op)
        if about_claims(op):
            self._fog.rise(op)
            return
        if self._fog and self._fog.hides(op):
            self._fog.rise(op)
            self._learn(operation, revision)
            return
        try:
            answer_is = self.tree.write(op, operation.session, revision)
        except Refused as refused:
            if operation.mode in self._modes:
                self._find(f"{_shown(op)} was done; at revision {revision} it is {refused.slug}", place)
            self._fog.rise(op)
        else:
            if operation.mode in self._modes:
                self._compare(operation, answer_is, place)

    def _compare(self, operation: Operation, answer_is: Any, place: int) -> None:
        if not matches(plain(operation.op), answer_is, operation.result):
            self._find(
                f"{_shown(operation.op)} was answered {_shown(operation.result)}; at revision {operation.revision} "
                f"it is {_shown(answer_is)}",
                place,
            )

    # --- what is not known ---

    def _skip(self, through: int) -> None:
        """Nothing is known of the revisions from here ``through``."""
        if not self._revision:
            self._fog.rise_everywhere()
            self.tree = Tree()
        else:
            for operation in self._unknown:
                self._fog.rise(operation.op)
            for path, znode in self.tree.znodes.items():
                # Sessions end, and TTLs, without being asked; and a container goes with what is below it.
                if znode.kind in (Kind.EPHEMERAL, Kind.TTL):
                    self._fog.rise_at(path)
                    for above in ancestors(path):
                        self._fog.rise_at(above)
        self._revision = through

    def _guess(self, operation: Operation, revision: int, changes: Sequence[Change]) -> None:
        """Take the log's word for what ``operation`` did."""
        for change in changes:
            self._tell(change, revision)
        for each in parts(operation.op):
            if isinstance(each, Claim):
                self.tree.learn(each.path, Kind.CONTAINER, operation.session, 0)
                for above in ancestors(each.path):
                    self.tree.learn(above, Kind.CONTAINER, operation.session, 0)
            if isinstance(each, Create):
                for change in changes:
                    if change[1] == each.path or (each.sequential and change[1].startswith(each.path)):
                        self.tree.learn(change[1], each.kind, operation.session, each.ttl_ms)

    def _learn(self, operation: Operation, revision: int) -> None:
        """What a write in the fog says by having been done."""
        op = plain(operation.op)
        if isinstance(op, Create):
            path = operation.result.path  # type: ignore[union-attr]
            self._tell((CREATED, path, op.value, 0, operation.session, operation.request, 0), revision)
            self.tree.learn(path, op.kind, operation.session, op.ttl_ms)

    def _keep(self, entry: Committed) -> None:
        """Which containers stay although they are empty: those with claims, or settings of their own."""
        for kind, path, _, version, session, number, _ in self._log.of_claims.get(entry.revision, ()):
            if kind in (CLAIMED, QUEUED):
                self._claims[number] = path
            elif kind in (RELEASED, WITHDRAWN):
                self._claims.pop(number, None)
            elif kind == CONFIGURED:
                delay_ms = 0
                found = self._by_request.get((session, number))
                for each in parts(found[1].op) if found else ():
                    if isinstance(each, ClaimSettings) and each.path == path:
                        delay_ms = each.lock_delay_ms
                self._settings.pop(path, None)
                if version != 1 or delay_ms:
                    self._settings[path] = None
        for change in entry.changes:
            if change[0] == DELETED:
                self._settings.pop(change[1], None)
        self.tree.kept = {**dict.fromkeys(self._claims.values()), **self._settings}

    def _tell(self, change: Change, revision: int) -> None:
        """Make ``change`` true, whatever the tree is."""
        kind, path = change[0], change[1]
        tree = self.tree
        if not self._fog:
            tree.follow(change, revision)
            return
        if kind == CREATED:
            if path in tree.znodes:
                tree.follow((DELETED, path, None, 0, 0, 0, 0), revision)
            for above in reversed(ancestors(path)):
                if above not in tree.znodes:  # there is something; what, is not known
                    tree.follow((CREATED, above, b"", 0, 0, 0, 0), 0)
        elif path not in tree.znodes:
            return
        tree.follow(change, revision)
        if kind != CHANGED:
            self._fog.clear(path)

    def _find(self, what: str, *places: int) -> None:
        self.findings.append(Finding(what, places))


def _revision(answer: Answer) -> int:
    return answer[0]


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 240 else f"{text[:230]}…"


def _changes(changes: Sequence[Any]) -> str:
    return _shown([tuple(each) for each in changes])
