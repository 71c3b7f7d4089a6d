"""Exactly once: what may not be done twice, asked on connections that are dropped before the reply.

Tries to apply a retry again, or to answer it with another answer than the first. Each name is created once, so a
create that is refused because the name is there has met itself; likewise a delete that finds nothing, and the
set of a znode that only this process sets, under the version that it had.
"""

from collections.abc import Sequence
from random import Random

from coord.api.ops import Create, Delete, List, Set
from coord.api.results import Created, Page, Written
from coord.jepsen_like.checkers.violation import Violation
from coord.jepsen_like.history import Operation, Record
from coord.jepsen_like.workloads.parts import insist, think
from coord.jepsen_like.workloads.workload import Ask, DropReplies, Process, Script, Together

ROOT = "/exactly_once"
NAMES, QUEUES, OWN = f"{ROOT}/names", f"{ROOT}/queues", f"{ROOT}/own"
PROMISE = "exactly_once"
PAGE = 10_000

_MET_ITSELF = {Create: (NAMES, "exists"), Delete: (NAMES, "not_found"), Set: (OWN, "conflict")}


def check_exactly_once(records: Sequence[Record]) -> list[Violation]:
    """No request has met itself, and no sequential create's value is there twice, or missing though acknowledged."""
    found: list[Violation] = []
    acknowledged: dict[bytes, tuple[int, str, int]] = {}
    for position, each in enumerate(records):
        if not isinstance(each, Operation) or isinstance(each.op, List):
            continue
        if isinstance(each.op, Create | Delete | Set):
            below, error = _MET_ITSELF[type(each.op)]
            if each.error == error and each.op.path.startswith(f"{below}/"):
                what = f"{each.op.path}: {each.error}, though nobody else asked for it"
                found.append(Violation(PROMISE, what, (position,)))
        if isinstance(each.result, Created) and isinstance(each.op, Create) and each.returned_ns is not None:
            acknowledged[each.op.value] = (each.returned_ns, each.result.path, position)
    for position, each in enumerate(records):
        if (
            isinstance(each, Operation)
            and isinstance(each.op, List)
            and each.op.path.startswith(f"{QUEUES}/")
            and isinstance(each.result, Page)
        ):
            names: dict[bytes | None, str] = {}
            for child in each.result.children:
                if child.value in names:
                    what = f"{child.value!r} stands at {names[child.value]} and at {child.name}"
                    found.append(Violation(PROMISE, what, (position,)))
                names[child.value] = child.name
            for value, (returned_ns, path, at) in acknowledged.items():
                queue, _, name = path.rpartition("/")
                is_due = queue == each.op.path and returned_ns < each.called_ns
                if is_due and each.mode == "linearizable" and names.get(value) != name:
                    what = f"{value!r} was put at {path}, and is at {names.get(value)}"
                    found.append(Violation(PROMISE, what, (at, position)))
    return found


class ExactlyOnce:
    name = PROMISE
    checks = (check_exactly_once,)

    def __init__(self, dice: Random) -> None:
        self._think_ms = dice.choice((0, 20, 100))
        self._most_at_once = dice.choice((1, 5, 20))
        self._dropping = dice.choice((0.1, 0.5))
        self._stay = 20
        """Sequential creates of a process in one queue."""

    def setup(self) -> Script:
        for path in (ROOT, NAMES, QUEUES, OWN):
            yield from insist(Create(path), "exists")

    def process(self, me: Process) -> Script:
        names: list[str] = []
        count = 0
        own, version = "", -1
        while me.has_session:
            asks: list[Ask] = []
            for _ in range(me.dice.randint(1, self._most_at_once)):
                pick = me.dice.random()
                if pick < 0.4:
                    asks.append(Create(f"{NAMES}/{me.fresh().decode()}"))
                elif pick < 0.6 and names:
                    asks.append(Delete(names.pop()))
                else:
                    asks.append(self._sequential(me, count))
                    count += 1
            if not own:
                own, version = f"{OWN}/{me.fresh().decode()}", -1
            asks.append(Set(own, me.fresh(), version=version) if version >= 0 else Create(own))
            together = tuple(asks)
            done = yield (DropReplies(together) if me.dice.random() < self._dropping else Together(together))
            for operation in done:
                if isinstance(operation.op, Create) and operation.op.path.startswith(f"{NAMES}/"):
                    names += [operation.op.path] if operation.outcome == "ok" else []
            # After an unknown outcome the version is not known either, and a late one may yet come: another znode.
            result = done[-1].result
            if isinstance(result, Created | Written):
                version = result.version if isinstance(result, Written) else 0
            else:
                own = ""
            yield think(me, self._think_ms)

    def finish(self, me: Process) -> Script:
        queues = yield from insist(List(QUEUES, limit=PAGE))
        if isinstance(queues.result, Page):
            for child in queues.result.children:
                yield from insist(List(f"{QUEUES}/{child.name}", values=True, limit=PAGE))

    def _sequential(self, me: Process, count: int) -> Create:
        return Create(f"{QUEUES}/{count // self._stay}/", me.fresh(), sequential=True, parents=True)
