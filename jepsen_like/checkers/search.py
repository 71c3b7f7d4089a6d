"""Linearizable, by search: is there any order at all? A black box, beside the witness that trusts the revisions.

Wing and Gong's search with Lowe's memory (a configuration, that is a set of linearized calls and the state they
left, is not tried twice), each register by itself: linearizability is local. Revisions order nothing here; they only
name the writes that conditions are on. What is not an op of one znode (see :mod:`register`), or is about a znode that
others write, is left out; reads of the modes ``at_least`` and ``local`` are, too.

The search can explode. All registers take turns with growing budgets, so that one that is soon seen to be wrong is
found, whatever the others cost. One that exhausts the budget is *undecided*: that is reported, as a violation
of another promise (:data:`UNDECIDED`), never counted as fine.

A history is to begin before its registers are created; what it never creates is some stranger's, and left out.
"""

from collections.abc import Sequence
from typing import Any, Final, Literal

from coord.api.ops import Claim, Create, Delete, Set
from coord.api.paths import ancestors, is_below
from coord.jepsen_like.checkers.about import parts
from coord.jepsen_like.checkers.log import changes_something
from coord.jepsen_like.checkers.register import Call, State, creates, register_of, says_something, step
from coord.jepsen_like.checkers.violation import Violation
from coord.jepsen_like.history import Operation, Record

PROMISE: Final = "search"
UNDECIDED: Final = "undecided"
BUDGET: Final = 2_000_000
"""Configurations for one history; about ten seconds."""
_FIRST_TURN: Final = 2_000

Verdict = Literal["ok", "violation", "undecided"]


def check(records: Sequence[Record], budget: int = BUDGET) -> list[Violation]:
    found: list[Violation] = []
    for path, search in searches(records, budget).items():
        if search.verdict == "violation":
            what = f"no order of the calls explains {path}: at most {search.most} of {search.count}, and not this one"
            found.append(Violation(PROMISE, what, search.stuck))
        elif search.verdict == "undecided":
            what = f"{path}: {search.count} calls, given up after {search.spent} configurations"
            found.append(Violation(UNDECIDED, what))
    return found


def searches(records: Sequence[Record], budget: int = BUDGET) -> "dict[str, Search]":
    """Each register's search, done. ``budget``: configurations, of all together."""
    found = {path: Search(calls) for path, calls in _registers(records).items()}
    open_searches = list(found.values())
    turn = _FIRST_TURN
    while open_searches and budget > 0:
        for search in open_searches:
            before = search.spent
            search.go_on(min(turn, budget))
            budget -= search.spent - before
            if budget <= 0:
                break
        open_searches = [search for search in open_searches if search.verdict == "undecided"]
        turn *= 4
    return found


def _registers(records: Sequence[Record]) -> dict[str, list[tuple[int, Operation]]]:
    """The calls of each znode that is only ever written as a register, with their places."""
    found: dict[str, list[tuple[int, Operation]]] = {}
    others: set[str] = set()
    felled: set[str] = set()
    """Whose whole subtree was deleted."""
    prefixes: set[str] = set()
    for place, each in enumerate(records):
        if type(each) is not Operation or each.mode not in ("write", "linearizable"):
            continue
        path = register_of(each.op)
        if path is None:
            if each.outcome != "refused":
                _written(each.op, others, felled, prefixes)
        elif _counts(each):
            found.setdefault(path, []).append((place, each))
    return {
        path: calls
        for path, calls in found.items()
        if path not in others
        and any(creates(each.op) for _, each in calls)
        and not any(path == top or is_below(path, top) for top in felled)
        and not any(path.startswith(prefix) for prefix in prefixes)
    }


def _counts(operation: Operation) -> bool:
    if operation.outcome == "refused":
        return operation.revision is not None and says_something(operation.op, operation.error)
    return operation.outcome == "ok" or operation.mode == "write"


def _written(op: Any, others: set[str], felled: set[str], prefixes: set[str]) -> None:
    """What an op that is none of a register may write."""
    for each in parts(op):
        if isinstance(each, Create) and each.sequential:
            prefixes.add(each.path)
        elif isinstance(each, Create | Set | Delete | Claim):
            others.add(each.path)
        if isinstance(each, Create | Set | Claim) and each.parents:
            others.update(ancestors(each.path))
        if isinstance(each, Delete) and each.subtree:
            felled.add(each.path)


class _Entry:
    """A call, or (``call`` is ``None``) the return of the call at ``number``, in a list that is linked both ways."""

    __slots__ = ("after", "before", "call", "number", "returns")

    def __init__(self, number: int, call: Call | None) -> None:
        self.number = number
        self.call = call
        self.returns: _Entry | None = None
        """Of a call that returned: where."""
        self.before: _Entry | None = None
        self.after: _Entry | None = None


class Search:
    """The search of one register; goes on where it stopped."""

    def __init__(self, calls: list[tuple[int, Operation]]) -> None:
        self.verdict: Verdict = "undecided"
        self.count = len(calls)
        self.most = 0
        """Calls that the longest order tried has put into place."""
        self.stuck: tuple[int, ...] = ()
        """Where it could not go on: the call that should have been next has to come before this return."""
        self.spent = 0
        self._places = [place for place, _ in calls]
        self._claimed = frozenset(
            each.revision
            for _, each in calls
            if each.revision is not None and each.outcome == "ok" and changes_something(each)
        )
        self._left = sum(each.returned_ns is not None for _, each in calls)
        """Returned calls that have no place yet. The others need none."""
        self._head = _Entry(-1, None)
        self._entry: _Entry | None = _link(self._head, calls)
        self._state: State = None
        self._done = 0
        self._seen: set[tuple[int, State]] = set()
        self._stack: list[tuple[_Entry, State]] = []

    def go_on(self, budget: int) -> None:
        """Try ``budget`` more configurations, at most."""
        entry, state, done = self._entry, self._state, self._done
        stack, seen = self._stack, self._seen
        left, spent = self._left, 0
        while left and spent < budget:
            if entry is not None and entry.call is not None:
                may, after = step(state, entry.call, self._claimed)
                spent += 1
                if may:
                    bits = done | (1 << entry.number)
                    if (bits, after) not in seen:
                        seen.add((bits, after))
                        stack.append((entry, state))
                        state, done = after, bits
                        left -= entry.returns is not None
                        _take_out(entry)
                        entry = self._head.after
                        continue
                entry = entry.after
                continue
            if entry is not None and len(stack) >= self.most:
                self.most, self.stuck = len(stack), (self._places[entry.number],)
            if not stack:
                self.verdict = "violation"
                break
            back, state = stack.pop()
            done &= ~(1 << back.number)
            left += back.returns is not None
            _put_back(back)
            entry = back.after
        if not left:
            self.verdict = "ok"
        self._entry, self._state, self._done, self._left = entry, state, done, left
        self.spent += spent


def _link(head: _Entry, calls: list[tuple[int, Operation]]) -> _Entry | None:
    """All entries in the order of time behind ``head``; at a tie calls come first, as a tie is no order."""
    events: list[tuple[int, int, int, _Entry]] = []
    for number, (_, each) in enumerate(calls):
        token = each.revision if each.revision is not None else -1 - number
        called = _Entry(number, Call(each.op, each.outcome != "unknown", each.error, each.result, token))
        events.append((each.called_ns, 0, number, called))
        if each.returned_ns is not None:
            called.returns = _Entry(number, None)
            events.append((each.returned_ns, 1, number, called.returns))
    events.sort(key=lambda event: event[:3])
    last = head
    for *_, entry in events:
        last.after, entry.before = entry, last
        last = entry
    return head.after


def _take_out(entry: _Entry) -> None:
    for each in (entry, entry.returns):
        if each is not None:
            if each.before is not None:
                each.before.after = each.after
            if each.after is not None:
                each.after.before = each.before


def _put_back(entry: _Entry) -> None:
    for each in (entry.returns, entry):
        if each is not None:
            if each.before is not None:
                each.before.after = each
            if each.after is not None:
                each.after.before = each
