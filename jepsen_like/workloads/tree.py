"""A tree: everything that can be done to one, by all kinds of ops with all their options, some right and some not.

Tries to break what an op means, by itself and within a multi: a condition that is not looked at, a multi that is
refused in its middle and leaves something behind, a listing that ends too early, a number that is given twice, a
container that stays, a TTL znode that goes while it is used. Few paths, so that the ops meet. The checkers that replay
the log judge every answer (``coord.jepsen_like.checkers.model``); when a TTL znode may go, the simulator's observer
knows (``coord.jepsen_like.sim.ageing``).
"""

from random import Random

from coord.api.ops import Compare, Create, Delete, Exists, Get, Kind, List, Multi, Operator, Set, Target
from coord.api.results import Created, Page, Znode
from coord.jepsen_like.workloads.parts import insist, think
from coord.jepsen_like.workloads.workload import LINEARIZABLE, LOCAL, Check, Process, Read, Script

ROOT = "/tree"
NAMES = ("a", "b", "c")
DEEPEST = 3
"""Levels below the root."""

KINDS = (Kind.PERSISTENT, Kind.PERSISTENT, Kind.EPHEMERAL, Kind.CONTAINER, Kind.CONTAINER, Kind.TTL)
NUMBERS = (Target.VERSION, Target.CREATED_REVISION, Target.MODIFIED_REVISION, Target.CHILDREN_REVISION)

Write = Create | Set | Delete | Multi


class TreeWorkload:
    name = "tree"
    checks: tuple[Check, ...] = ()

    def __init__(self, dice: Random) -> None:
        self._names = NAMES[: dice.choice((2, 3))]
        self._levels = dice.choice((2, DEEPEST))
        self._ttls_ms = dice.choice(((50, 500), (500, 3_000)))
        self._multis = dice.choice((0.2, 0.5))
        self._think_ms = dice.choice((0, 20, 100))

    def setup(self) -> Script:
        yield from insist(Create(ROOT), "exists")

    def process(self, me: Process) -> Script:
        seen: dict[str, Znode] = {}
        while True:
            pick = me.dice.random()
            if pick < 0.4 or not me.has_session:
                operation = yield Read(
                    self._look(me, seen), LINEARIZABLE if me.dice.random() < 0.7 else LOCAL
                )
            elif pick < 1 - 0.6 * self._multis:
                operation = yield self._write(me, seen)
            else:
                operation = yield self._multi(me, seen, 1)
            if isinstance(operation.result, Znode):
                seen[operation.op.path] = operation.result
            elif isinstance(operation.result, Created) and me.dice.random() < 0.5:
                # A set soon after: TTL znodes live on by it.
                yield Set(operation.result.path, me.fresh())
            yield think(me, self._think_ms)

    def finish(self, me: Process) -> Script:
        above = [ROOT]
        for path in above:  # grows while it is walked
            after: str | None = None
            more = True
            while more:
                look = List(path, values=True, stats=True, limit=2, after=after)
                page = (yield from insist(look, "not_found")).result
                more = isinstance(page, Page) and page.more
                if isinstance(page, Page):
                    above += [f"{path}/{child.name}" for child in page.children]
                    after = page.children[-1].name if page.children else after

    # --- what is asked ---

    def _path(self, me: Process) -> str:
        levels = me.dice.randint(1, self._levels)
        return "/".join((ROOT, *(me.dice.choice(self._names) for _ in range(levels))))

    def _look(self, me: Process, seen: dict[str, Znode]) -> Get | Exists | List:
        dice, path = me.dice, self._path(me)
        pick = dice.random()
        if pick < 0.4:
            return Get(path)
        if pick < 0.5 and path in seen:
            return Get(path, **self._condition(me, seen[path]))
        if pick < 0.6:
            return Exists(path)
        return List(
            path.rpartition("/")[0],
            values=dice.random() < 0.5,
            stats=dice.random() < 0.5,
            limit=dice.choice((1, 2, 3, 1_000)),
            after=dice.choice((None, *self._names)),
        )

    def _write(self, me: Process, seen: dict[str, Znode]) -> Write:
        dice, path = me.dice, self._path(me)
        condition = self._condition(me, seen[path]) if path in seen and dice.random() < 0.5 else {}
        pick = dice.random()
        if pick < 0.45:
            kind = dice.choice(KINDS)
            return Create(
                path if dice.random() < 0.7 else f"{path}-",
                me.fresh(),
                kind,
                sequential=dice.random() < 0.3,
                parents=dice.random() < 0.5,
                ttl_ms=dice.choice(self._ttls_ms) if kind is Kind.TTL else 0,
            )
        if pick < 0.75:
            return Set(path, me.fresh(), **condition, create=dice.random() < 0.5, parents=dice.random() < 0.3)
        return Delete(path, **condition, subtree=dice.random() < 0.5, missing_ok=dice.random() < 0.3)

    def _condition(self, me: Process, known: Znode) -> dict[str, int]:
        """Right when nothing has happened since; sometimes wrong by one."""
        wrong = me.dice.choice((0, 0, 0, 1, -1))
        version, revision = known.stat.version + wrong, known.stat.modified_revision + wrong
        if min(version, revision) < 0:
            return {}
        return me.dice.choice(
            ({"version": version}, {"revision": revision}, {"version": version, "revision": revision - wrong})
        )

    def _multi(self, me: Process, seen: dict[str, Znode], level: int) -> Multi:
        """Writes that meet at the same paths, with a look between, and often one at the end that cannot be done."""
        dice = me.dice
        compare = tuple(self._compare(me, seen) for _ in range(dice.choice((0, 0, 1, 2))))
        then: list[Write | Get | Exists | List] = []
        for _ in range(dice.randint(1, 4)):
            pick = dice.random()
            if pick < 0.2:
                then.append(Exists(self._path(me)))
            elif pick < 0.3 and level < 2:
                then.append(self._multi(me, seen, level + 1))
            else:
                then.append(self._write(me, seen))
        if dice.random() < 0.3:
            path = self._path(me)
            then += [Set(path, me.fresh(), create=True, parents=True), Set(path, me.fresh())]
        if dice.random() < 0.3:
            then.append(Delete(f"{ROOT}/nobody"))
        otherwise = (Exists(self._path(me)), self._write(me, seen)) if dice.random() < 0.5 else ()
        return Multi(compare, tuple(then), otherwise)

    def _compare(self, me: Process, seen: dict[str, Znode]) -> Compare:
        dice, path = me.dice, self._path(me)
        known = seen.get(path)
        if known is None or dice.random() < 0.2:
            operator = dice.choice((Operator.EQUAL, Operator.NOT_EQUAL))
            return Compare(Target.EXISTS, path, operator, dice.random() < 0.5)
        if dice.random() < 0.2:
            return Compare(Target.VALUE, path, dice.choice(list(Operator)), known.value)
        if dice.random() < 0.2:
            return Compare(Target.CHILD_COUNT, path, dice.choice(list(Operator)), dice.randint(0, 3))
        target = dice.choice(NUMBERS)
        number = {
            Target.VERSION: known.stat.version,
            Target.CREATED_REVISION: known.stat.created_revision,
            Target.MODIFIED_REVISION: known.stat.modified_revision,
            Target.CHILDREN_REVISION: known.stat.children_revision,
        }[target]
        operator = dice.choice(list(Operator))
        return Compare(target, path, operator, max(0, number + dice.choice((0, 0, 0, 1, -1))))
