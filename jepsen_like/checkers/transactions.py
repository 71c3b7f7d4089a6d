"""Transactions are strictly serializable: no cycle of dependencies, nothing read that was aborted or is half of one.

After Kingsbury and Alvaro, *Elle* (VLDB 2020), for lists that are only appended to. What was read of a list tells the
order of all appends to it; so who depends on whom is known, and whatever is not serializable is a cycle. Anomalies have
Adya's names: G0 (writes only), G1a (aborted read), G1b (intermediate read), G1c (with reads), G-single (one
anti-dependency), G2 (more); ``-process`` and ``-realtime`` where the cycle needs those orders.

Lists are the znodes below :data:`ROOT`: a value's elements are joined by spaces, each appended once, by a multi's
``Set`` of the whole list with one more. The multi's conditions are not looked at, nor are revisions: whether they
hold what they promise is the question.
"""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from coord.api.ops import Get, Multi, Set
from coord.api.results import MultiResult, Znode
from coord.jepsen_like.checkers.graph import NAMES, PROCESS, RW, TIME, WR, WW, Graph
from coord.jepsen_like.checkers.violation import Violation
from coord.jepsen_like.history import Operation, Record

PROMISE: Final = "transactions"
ROOT: Final = "/append"
FOUND_MAX: Final = 20

List = tuple[bytes, ...]


class Step(NamedTuple):
    """``seen``: the list that was read; for an append the list as it was written, its own element the last."""

    is_append: bool
    key: str
    seen: List


class Transaction(NamedTuple):
    place: int
    operation: Operation
    steps: tuple[Step, ...]
    in_graph: bool
    """False for a read that may be old: it tells the order of appends, and depends on nothing in time."""


def check(records: Sequence[Record], root: str = ROOT) -> list[Violation]:
    return [each for each, _ in zip(_Checker(records, root).run(), range(FOUND_MAX), strict=False)]


class _Checker:
    def __init__(self, records: Sequence[Record], root: str) -> None:
        self._all: list[Transaction] = []
        self._aborted: dict[tuple[str, bytes], int] = {}
        """``(key, element)`` of appends that surely did not happen, and where."""
        self._writer: dict[tuple[str, bytes], Transaction] = {}
        self._order: dict[str, tuple[List, int]] = {}
        """Key -> the longest list that was read, and where."""
        for place, each in enumerate(records):
            if type(each) is Operation:
                self._take(place, each, f"{root}/")

    def run(self) -> Iterator[Violation]:
        yield from self._orders()
        for each in self._all:
            if each.operation.outcome == "ok" or each.operation.error == "not_found":
                yield from self._alone(each)
        yield from self._lost_updates()
        yield from self._cycles()

    # --- what was done ---

    def _take(self, place: int, operation: Operation, below: str) -> None:
        op, result = operation.op, operation.result
        if isinstance(op, Get) and op.path.startswith(below):
            seen: List | None = None
            if isinstance(result, Znode):
                seen = tuple(result.value.split())
            elif operation.error == "not_found" and operation.outcome == "refused":
                seen = ()
            if seen is not None:
                fresh = operation.mode == "linearizable"
                self._all.append(Transaction(place, operation, (Step(False, op.path, seen),), fresh))
        elif isinstance(op, Multi):
            appends = [
                Step(True, each.path, tuple(each.value.split()))
                for each in op.then
                if isinstance(each, Set) and _is_append(each, below)
            ]
            happened = operation.outcome == "unknown" or (
                isinstance(result, MultiResult) and result.succeeded
            )
            if not happened:
                self._aborted.update({(each.key, each.seen[-1]): place for each in appends})
            steps = tuple(_steps(op, result, below)) if isinstance(result, MultiResult) else tuple(appends)
            if steps and (happened or isinstance(result, MultiResult)):
                found = Transaction(place, operation, steps, True)
                self._all.append(found)
                if happened:
                    self._writer.update({(each.key, each.seen[-1]): found for each in appends})

    # --- what one list shows ---

    def _orders(self) -> Iterator[Violation]:
        """The longest list of each key; every other one must be its beginning."""
        for each in self._all:
            if each.operation.outcome == "unknown":
                continue
            for step in each.steps:
                if step.is_append:
                    continue  # it is what the client meant to write
                longest, where = self._order.setdefault(step.key, (step.seen, each.place))
                shorter = min(len(longest), len(step.seen))
                if longest[:shorter] != step.seen[:shorter]:
                    what = f"incompatible order of {step.key}: {_text(longest)} and {_text(step.seen)}"
                    yield Violation(PROMISE, what, (where, each.place))
                elif len(step.seen) > len(longest):
                    self._order[step.key] = (step.seen, each.place)

    def _alone(self, transaction: Transaction) -> Iterator[Violation]:
        """What its reads show without regard to others' order."""
        place = transaction.place
        own: dict[str, List] = {}
        appended = {(step.key, step.seen[-1]) for step in transaction.steps if step.is_append}
        for is_append, key, seen in transaction.steps:
            if is_append:
                own[key] = seen
                continue
            if len(set(seen)) < len(seen):
                yield Violation(
                    PROMISE, f"duplicate append: {key} has an element twice: {_text(seen)}", (place,)
                )
            if key in own and seen != own[key]:
                what = f"internal: it set {key} to {_text(own[key])}, and then read {_text(seen)}"
                yield Violation(PROMISE, what, (place,))
            for element in seen:
                aborted = self._aborted.get((key, element))
                if aborted is not None:
                    what = f"G1a, aborted read: {element!r} in {key} was refused"
                    yield Violation(PROMISE, what, (aborted, place))
                elif (key, element) not in self._writer:
                    yield Violation(PROMISE, f"{element!r} in {key} was never appended", (place,))
            writer = self._writer.get((key, seen[-1])) if seen else None
            if writer is not None and (key, seen[-1]) not in appended:
                last = [step.seen[-1] for step in writer.steps if step.is_append and step.key == key][-1]
                if last != seen[-1]:
                    what = f"G1b, intermediate read: {key} was read up to {seen[-1]!r}, half of a transaction"
                    yield Violation(PROMISE, what, (writer.place, place))

    def _lost_updates(self) -> Iterator[Violation]:
        """Two that were done appended to the same list."""
        grown: dict[tuple[str, List], Transaction] = {}
        for each in self._all:
            if each.operation.outcome != "ok":
                continue
            for step in each.steps:
                if step.is_append:
                    before = grown.setdefault((step.key, step.seen[:-1]), each)
                    if before is not each:
                        what = f"lost update: two transactions appended to {step.key} after {_text(step.seen[:-1])}"
                        yield Violation(PROMISE, what, (before.place, each.place))

    # --- who depends on whom ---

    def _cycles(self) -> Iterator[Violation]:
        seen_by_reads = {(key, element) for key, (order, _) in self._order.items() for element in order}
        nodes = [
            each
            for each in self._all
            if each.in_graph
            and (
                each.operation.outcome != "unknown"
                or any(step.is_append and (step.key, step.seen[-1]) in seen_by_reads for step in each.steps)
            )
        ]
        graph = self._graph(nodes)
        for extra in (0, PROCESS, PROCESS | TIME):
            for base in (WW, WW | WR, WW | WR | RW):
                found = graph.components(base | extra)
                for component in found:
                    yield self._cycle(graph, nodes, component, base | extra)
                if found:
                    return  # the larger graphs have these cycles, too

    def _graph(self, nodes: list[Transaction]) -> Graph:
        graph = Graph(len(nodes))
        number = {each.place: at for at, each in enumerate(nodes)}
        appended: dict[str, list[int]] = {}
        unread: dict[str, list[int]] = {}
        for key, (order, _) in self._order.items():
            writers = [self._writer.get((key, element)) for element in order]
            appended[key] = [number.get(each.place, -1) if each is not None else -1 for each in writers]
            for first, second in zip(appended[key], appended[key][1:], strict=False):
                if first >= 0 and second >= 0:
                    graph.add(first, second, WW)
        for at, each in enumerate(nodes):
            for step in each.steps:
                order = self._order.get(step.key, ((), -1))[0]
                if step.is_append and step.seen[-1] not in order and each.operation.outcome == "ok":
                    unread.setdefault(step.key, []).append(at)
        for at, each in enumerate(nodes):
            own = {step.key for step in each.steps if step.is_append}
            for step in each.steps:
                writers_of = appended.get(step.key, [])
                if step.is_append or step.seen != self._order[step.key][0][: len(step.seen)]:
                    continue
                if step.key in own and any(
                    s.is_append and s.key == step.key and s.seen == step.seen for s in each.steps
                ):
                    continue  # its own write
                length = len(step.seen)
                if length and writers_of[length - 1] >= 0:
                    graph.add(writers_of[length - 1], at, WR)
                if length < len(writers_of):
                    if writers_of[length] >= 0:
                        graph.add(at, writers_of[length], RW)
                else:
                    # What was appended and never read comes after all that was.
                    for later in unread.get(step.key, ()):
                        graph.add(at, later, RW)
        for key, later_ones in unread.items():
            if appended.get(key) and appended[key][-1] >= 0:
                for behind in later_ones:
                    graph.add(appended[key][-1], behind, WW)
        _add_orders(graph, nodes)
        return graph

    def _cycle(self, graph: Graph, nodes: list[Transaction], component: list[int], kinds: int) -> Violation:
        cycle = graph.cycle(component, kinds)
        used = [
            graph.kind(one, other, kinds) for one, other in zip(cycle, [*cycle[1:], cycle[0]], strict=True)
        ]
        anti = used.count(RW)
        name = "G2" if anti > 1 else "G-single" if anti else "G1c" if WR in used else "G0"
        name += "-realtime" if TIME in used else "-process" if PROCESS in used else ""
        places = tuple(nodes[each].place for each in cycle)
        arrows = " ".join(f"{place} -{NAMES[kind]}->" for place, kind in zip(places, used, strict=True))
        return Violation(PROMISE, f"{name}: {arrows} {places[0]}", places)


def _add_orders(graph: Graph, nodes: list[Transaction]) -> None:
    """Edges of processes and of time. Of the latter only those that others do not imply."""
    events: list[tuple[int, int, int]] = []
    for at, each in enumerate(nodes):
        events.append((each.operation.called_ns, 0, at))
        if each.operation.returned_ns is not None:
            events.append((each.operation.returned_ns, 1, at))  # a tie is no order: calls come first
    events.sort()
    done: list[int] = []
    last: dict[int, int] = {}
    for _, is_return, at in events:
        operation = nodes[at].operation
        if is_return:
            done = [each for each in done if (nodes[each].operation.returned_ns or 0) >= operation.called_ns]
            done.append(at)
            last[operation.process] = at
        else:
            for earlier in done:
                graph.add(earlier, at, TIME)
            if operation.process in last:
                graph.add(last[operation.process], at, PROCESS)


def _is_append(op: object, below: str) -> bool:
    return isinstance(op, Set) and op.path.startswith(below) and bool(op.value.split())


def _steps(op: Multi, result: MultiResult, below: str) -> Iterator[Step]:
    for each, one in zip(op.then if result.succeeded else op.otherwise, result.results, strict=True):
        if isinstance(each, Set) and _is_append(each, below):
            yield Step(True, each.path, tuple(each.value.split()))
        elif isinstance(one, Znode) and one.path.startswith(below):
            yield Step(False, one.path, tuple(one.value.split()))


def _text(elements: List) -> str:
    shown = b" ".join(elements[-12:]).decode(errors="replace")
    return f"[… {shown}]" if len(elements) > 12 else f"[{shown}]"
