"""What the store should do, written as plainly as possible: one dict of dicts, copied whole for a multi.

Shares no code with coord/store, and knows nothing of histories, undo, heaps or buckets.
"""

import copy
from typing import Any

from coord.api.errors import Conflict, CoordError, Exists, NotAllowed, NotEmpty, NotFound
from coord.api.ops import Compare, Create, Delete, Get, Kind, List, Multi, Operator, Set, Target
from coord.api.ops import Exists as ExistsOp
from coord.api.paths import name, parent
from coord.store.store import TTL_SWEEP

Node = dict[str, Any]


class Model:
    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {"/": node(b"", 0, Kind.PERSISTENT)}
        self.revision = 0
        self.now = 0
        """The revision that is being made."""
        self.time_ms = 0
        self.sessions: dict[int, dict[int, tuple[Any, ...]]] = {}
        self.confirmed: dict[int, int] = {}

    def children(self, path: str) -> list[str]:
        return sorted(name(each) for each in self.nodes if each != "/" and parent(each) == path)

    def request(self, session: int, request: int, op: Any) -> tuple[Any, ...]:
        """``(error code or 0, revision, result)``"""
        if session not in self.sessions:
            return (30, self.revision, None)
        if request <= self.confirmed[session]:
            return (32, self.revision, None)
        if request in self.sessions[session]:
            return self.sessions[session][request]
        before = copy.deepcopy(self.nodes)
        self.now = self.revision + 1
        try:
            result = self.op(op, session)
        except CoordError as error:
            self.nodes = before
            answer = (error.code, self.revision, None)
        else:
            # What was made and unmade within a multi changed something, too.
            if self.nodes != before or writes(op, result):
                self.revision += 1
            answer = (0, self.revision, result)
        self.sessions[session][request] = answer
        return answer

    def confirm(self, session: int, confirmed: int) -> None:
        if session in self.sessions:
            self.confirmed[session] = max(self.confirmed[session], confirmed)
            kept = self.sessions[session]
            self.sessions[session] = {each: kept[each] for each in kept if each > self.confirmed[session]}

    def open(self) -> int:
        session = max([0, *self.confirmed]) + 1
        self.sessions[session] = {}
        self.confirmed[session] = 0
        return session

    def end(self, session: int) -> None:
        if self.sessions.pop(session, None) is None:
            return
        owned = [path for path, each in self.nodes.items() if each["owner"] == session]
        if owned:
            self.now = self.revision = self.revision + 1
            for path in sorted(owned):
                self.remove(path)

    def pass_time(self, ms: int) -> None:
        """Before an entry's commands; :meth:`sweep` comes after them."""
        self.time_ms += ms

    def sweep(self) -> None:
        due = sorted(
            (each["deadline_ms"], path)
            for path, each in self.nodes.items()
            if each["ttl_ms"] and each["deadline_ms"] <= self.time_ms and not self.children(path)
        )
        if due:
            self.now = self.revision = self.revision + 1
            for _, path in due[:TTL_SWEEP]:
                self.remove(path)

    def op(self, op: Any, session: int) -> Any:
        now = self.revision + 1
        if isinstance(op, Multi):
            succeeded = all(self.holds(each) for each in op.compare)
            branch = op.then if succeeded else op.otherwise
            return (succeeded, tuple(self.op(each, session) for each in branch))
        if isinstance(op, Create):
            return self.create(op, session, now)
        if isinstance(op, Set):
            found = self.nodes.get(op.path)
            conditional = op.version is not None or op.revision is not None
            if found is None and op.create and conditional:
                raise Conflict("")
            if found is None and op.create:
                self.create(Create(op.path, op.value, parents=op.parents), session, now)
                return 0
            found = self.find(op)
            found["value"] = op.value
            found["modified"] = now
            found["version"] += 1
            found["deadline_ms"] = self.time_ms + found["ttl_ms"]
            return found["version"]
        if isinstance(op, Delete):
            if op.path == "/":
                raise NotAllowed("")
            if op.missing_ok and op.path not in self.nodes:
                return 0
            self.find(op)
            doomed = [path for path in self.nodes if path == op.path or path.startswith(f"{op.path}/")]
            if len(doomed) > 1 and not op.subtree:
                raise NotEmpty("")
            for path in sorted(doomed, reverse=True):
                if path in self.nodes:
                    self.remove(path)
            return len(doomed)
        if isinstance(op, Get):
            found = self.find(op)
            return (found["value"], found["version"], found["modified"])
        if isinstance(op, ExistsOp):
            found = self.nodes.get(op.path)
            return None if found is None else (found["version"], found["modified"])
        if op.path not in self.nodes:
            raise NotFound("")
        names = [each for each in self.children(op.path) if op.after is None or each > op.after]
        return (tuple(names[: op.limit]), len(names) > op.limit)

    def create(self, op: Create, session: int, now: int) -> str:
        path = op.path
        if not op.sequential and path in self.nodes:
            raise Exists("")
        lacking = []
        above = parent(path)
        while above not in self.nodes:
            if not op.parents:
                raise NotFound("")
            lacking.append(above)
            above = parent(above)
        if self.nodes[above]["kind"] is Kind.EPHEMERAL:
            raise NotAllowed("")
        for each in reversed(lacking):
            self.add(each, node(b"", now, Kind.CONTAINER if op.kind is Kind.CONTAINER else Kind.PERSISTENT))
        above = self.nodes[parent(path)]
        if op.sequential:
            number = above["next"]
            while f"{path}{number:010d}" in self.nodes:
                number += 1
            path = f"{path}{number:010d}"
            above["next"] = number + 1
        made = node(op.value, now, op.kind)
        made["owner"] = session if op.kind is Kind.EPHEMERAL else 0
        made["ttl_ms"] = op.ttl_ms
        made["deadline_ms"] = self.time_ms + op.ttl_ms
        self.add(path, made)
        return path

    def add(self, path: str, made: Node) -> None:
        self.nodes[path] = made
        self.touch(parent(path))

    def remove(self, path: str) -> None:
        del self.nodes[path]
        above = parent(path)
        self.touch(above)
        if self.nodes[above]["kind"] is Kind.CONTAINER and not self.children(above):
            self.remove(above)

    def touch(self, path: str) -> None:
        self.nodes[path]["deadline_ms"] = self.time_ms + self.nodes[path]["ttl_ms"]
        self.nodes[path]["touched"] += 1
        self.nodes[path]["touched_at"] = self.now

    def find(self, op: Any) -> Node:
        found = self.nodes.get(op.path)
        if found is None:
            raise NotFound("")
        if op.version not in (None, found["version"]) or op.revision not in (None, found["modified"]):
            raise Conflict("")
        return found

    def holds(self, compare: Compare) -> bool:
        found = self.nodes.get(compare.path)
        if compare.target is Target.EXISTS:
            return ((found is not None) == compare.operand) == (compare.operator is Operator.EQUAL)
        if found is None:
            return False
        actual = {
            Target.VALUE: found["value"],
            Target.VERSION: found["version"],
            Target.CREATED_REVISION: found["created"],
            Target.MODIFIED_REVISION: found["modified"],
            Target.CHILD_COUNT: len(self.children(compare.path)),
            Target.CHILDREN_REVISION: found["touched_at"],
        }[compare.target]
        return {
            Operator.EQUAL: actual == compare.operand,
            Operator.NOT_EQUAL: actual != compare.operand,
            Operator.LESS: actual < compare.operand,
            Operator.LESS_OR_EQUAL: actual <= compare.operand,
            Operator.GREATER: actual > compare.operand,
            Operator.GREATER_OR_EQUAL: actual >= compare.operand,
        }[compare.operator]


def node(value: bytes, revision: int, kind: Kind) -> Node:
    return {
        "value": value, "created": revision, "modified": revision, "version": 0, "kind": kind, "owner": 0,
        "ttl_ms": 0, "deadline_ms": 0, "next": 0, "touched": 0,
        "touched_at": revision,
    }  # fmt: skip


def writes(op: Any, result: Any) -> bool:
    """Whether the op, done, was a write."""
    if isinstance(op, Multi):
        branch = op.then if result[0] else op.otherwise
        return any(isinstance(each, Create | Set | Delete) for each in branch)
    return isinstance(op, Create | Set | Delete)


def same_as(op: Any, result: Any) -> Any:
    """The store's result row, with as much in it as the model tells."""
    if result is None:
        return None
    if isinstance(op, Multi):
        branch = op.then if result[0] else op.otherwise
        return (result[0], tuple(same_as(each, one) for each, one in zip(branch, result[1], strict=True)))
    if isinstance(op, Get):
        return (result[0], result[1][3], result[1][1])
    if isinstance(op, ExistsOp):
        return (result[3], result[1])
    if isinstance(op, List):
        return (tuple(row[0] for row in result[0]), result[1])
    return result
