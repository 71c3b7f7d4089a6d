"""Watches: some processes change a small tree in every way there is, others watch it, list it, and compare.

Tries to break what watches promise: order, no gap, nothing twice, a revision's events together, and before any reply
of the same connection that shows them; across reconnections, other members, other sessions, and gaps. The check here
needs no log to compare with: a watcher that lists, watches from there on, and applies every event must hold
what any later listing shows.
"""

from collections.abc import Generator, Sequence
from random import Random
from typing import Any

from coord.api.events import DELETED
from coord.api.ops import Create, Delete, Kind, List, Multi, Set
from coord.api.results import Page
from coord.jepsen_like.checkers.violation import Violation
from coord.jepsen_like.history import Operation, Record, WatchOpened, WatchOver, WatchTold
from coord.jepsen_like.workloads.parts import insist, think
from coord.jepsen_like.workloads.workload import (
    Ask,
    Check,
    MoveAway,
    Process,
    Script,
    Step,
    Together,
    Unwatch,
    Wait,
    Watch,
    Watched,
)

ROOT = "/watching"
PROMISE = "watching"
PAGE = 10_000


class _Copy:
    """The children of a path, as one watch's events have made them; kept for as long as the watch is open."""

    def __init__(self, opened: WatchOpened, children: dict[str, bytes | None]) -> None:
        self.process = opened.process
        self.connection = opened.connection
        self.path = opened.path
        self.children = children
        self.revision = opened.revision
        """Of ``children``."""
        self.ahead: list[WatchTold] = []
        """Told, and not applied yet."""

    def through(self, revision: int) -> dict[str, bytes | None]:
        self.revision = revision
        while self.ahead and self.ahead[0].revision <= revision:
            for kind, path, value, *_ in self.ahead.pop(0).changes:
                name = path.rpartition("/")[2]
                if kind == DELETED:
                    self.children.pop(name, None)
                else:
                    self.children[name] = value
        return self.children


def check_copies(records: Sequence[Record]) -> list[Violation]:
    """A listing shows what the events told before it, on the same connection, have made of the first listing."""
    found: list[Violation] = []
    copies: dict[int, _Copy] = {}
    pages: dict[tuple[int, str], tuple[Page, int]] = {}
    for position, each in enumerate(records):
        if isinstance(each, Operation) and isinstance(each.result, Page) and isinstance(each.op, List):
            page, path = each.result, each.op.path
            if not path.startswith(ROOT) or not each.op.values or page.more:
                continue
            shown = _children(page)
            for copy in copies.values():
                if (copy.process, copy.connection, copy.path) != (each.process, each.connection, path):
                    continue
                if page.revision >= copy.revision and copy.through(page.revision) != shown:
                    what = f"{path} at revision {page.revision} is not what its watch has told"
                    found.append(Violation(PROMISE, what, (pages[(each.process, path)][1], position)))
                    copy.children = dict(shown)
            pages[(each.process, path)] = (page, position)
        elif isinstance(each, WatchOpened):
            known = copies.get(each.watch)
            base = pages.get((each.process, each.path))
            if known is not None:
                known.connection = each.connection
            elif each.scope == "children" and base and each.from_revision == base[0].revision + 1:
                copies[each.watch] = _Copy(each, _children(base[0]))
        elif isinstance(each, WatchTold) and each.watch in copies:
            copies[each.watch].ahead.append(each)
        elif isinstance(each, WatchOver):
            copies.pop(each.watch, None)
    return found


def _children(page: Page) -> dict[str, bytes | None]:
    return {child.name: child.value for child in page.children}


def _open(step: Watch) -> Generator[Step, Any, Watched]:
    watched: Watched = yield step
    return watched


class Watching:
    name = PROMISE
    checks: tuple[Check, ...] = (check_copies,)

    def __init__(self, dice: Random) -> None:
        self._names = dice.choice((3, 10))
        self._think_ms = dice.choice((5, 50, 200))
        self._most_at_once = dice.choice((1, 5, 20))

    def setup(self) -> Script:
        yield from insist(Create(ROOT), "exists")

    def process(self, me: Process) -> Script:
        if me.has_session and me.number % 2:
            yield from self._change(me)
        yield from self._watch(me)

    def finish(self, me: Process) -> Script:
        page = yield from insist(List(ROOT, values=True, limit=PAGE))
        watched = yield Watch(ROOT, "children", (page.revision or 0) + 1)
        yield from insist(Set(f"{ROOT}/last", me.fresh(), create=True))
        yield from insist(List(ROOT, values=True, limit=PAGE))
        yield Unwatch(watched)

    def _change(self, me: Process) -> Script:
        while True:
            count = me.dice.randint(1, self._most_at_once)
            yield Together(tuple(self._some_change(me) for _ in range(count)))
            yield think(me, self._think_ms)

    def _some_change(self, me: Process) -> Ask:
        dice = me.dice
        path = f"{ROOT}/{dice.randrange(self._names)}"
        below = f"{path}/{dice.randrange(3)}"
        pick = dice.random()
        if pick < 0.4:
            return Set(path, me.fresh(), create=True)
        if pick < 0.55:
            return Set(below, me.fresh(), create=True, parents=True)
        if pick < 0.65:
            return Delete(path, subtree=True)
        if pick < 0.75:
            there = (Set(path, me.fresh(), create=True), Set(below, me.fresh(), create=True), Delete(below))
            return Multi((), (*there, Set(f"{ROOT}/{dice.randrange(self._names)}", me.fresh(), create=True)))
        if pick < 0.85:
            return Create(f"{ROOT}/t-", me.fresh(), Kind.TTL, sequential=True, ttl_ms=dice.choice((50, 500)))
        if pick < 0.95:
            return Create(f"{ROOT}/e-", me.fresh(), Kind.EPHEMERAL, sequential=True)
        return Create(f"{ROOT}/c-{dice.randrange(3)}/x", me.fresh(), parents=True)

    def _watch(self, me: Process) -> Script:
        watched: Watched | None = None
        while True:
            if watched is None or watched.over == "gap" or me.dice.random() < 0.3:
                watched = yield from self._list_and_watch(me)
            else:
                # Where the former watch ended, perhaps in another session.
                watched = yield from _open(Watch(watched.path, watched.scope, (watched.told or 0) + 1))
            while watched.over is None:
                yield Wait(watched, max(self._think_ms, 10))
                pick = me.dice.random()
                if pick < 0.2 and watched.path == ROOT:
                    yield List(ROOT, values=True, limit=PAGE)
                elif pick < 0.22:
                    yield MoveAway()
                elif pick < 0.25:
                    yield Unwatch(watched)
            yield think(me, self._think_ms)

    def _list_and_watch(self, me: Process) -> Generator[Step, Any, Watched]:
        if me.dice.random() < 0.6:
            page = yield from insist(List(ROOT, values=True, limit=PAGE))
            return (yield from _open(Watch(ROOT, "children", (page.revision or 0) + 1)))
        return (yield from _open(Watch(*self._somewhere(me))))

    def _somewhere(self, me: Process) -> tuple[str, str]:
        """A path, and a scope."""
        path = me.dice.choice((ROOT, f"{ROOT}/{me.dice.randrange(self._names)}"))
        return path, me.dice.choice(("znode", "children", "subtree"))


class Ahead(Watching):
    """The same, with watches that begin where the tree has yet to come: in the near future, or at a member that lags
    behind what a process was shown by another. Nothing before that is to be told, whatever becomes of the member."""

    name = "ahead"

    def _list_and_watch(self, me: Process) -> Generator[Step, Any, Watched]:
        if me.dice.random() < 0.5:
            return (yield from super()._list_and_watch(me))
        return (yield from _open(Watch(*self._somewhere(me), me.revision + me.dice.choice((1, 2, 5, 20)))))
