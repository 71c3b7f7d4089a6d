"""Good histories: one real store as the order of things, members that apply it late, clients that are told later still.

Nothing here goes wrong: operations overlap, answers come late or never, members lag, connections move, sessions expire.
``World(seed).run(steps)`` is a history that every checker must accept; :mod:`faults` spoils it.
"""

import zlib
from random import Random
from typing import Any

from coord.api import ops, results
from coord.api.commands import END_SESSION, EXPIRE_SESSIONS, OPEN_SESSION, REQUESTS
from coord.api.errors import ERRORS, OK, CoordError
from coord.jepsen_like.checkers.convergence import QUIESCED
from coord.jepsen_like.checkers.known import concerns
from coord.jepsen_like.history import (
    Committed,
    Digest,
    Note,
    Operation,
    Record,
    Run,
    SessionOpened,
    SessionOver,
    SessionProof,
    WatchOpened,
    WatchOver,
    WatchTold,
)
from coord.limits import MemberLimits
from coord.store.store import Store

MS = 1_000_000
TIMEOUT_MS = 2_000
SCOPES = ("znode", "children", "subtree")
WRITES = (ops.Create, ops.Set, ops.Delete, ops.Multi)


class Member:
    def __init__(self, number: int) -> None:
        self.number = number
        self.store = Store(MemberLimits())
        self.applied = 0
        """How many entries of the log."""


class Call:
    def __init__(self, op: Any, mode: str, at_least: int, called_ns: int, request: int) -> None:
        self.op = op
        self.mode = mode
        self.at_least = at_least
        self.called_ns = called_ns
        self.request = request
        self.needs = -1
        """How many entries its member must have applied before it is answered; below 0: it took no effect yet."""
        self.reply: Any = None


class Process:
    def __init__(self, number: int) -> None:
        self.number = number
        self.session = 0
        self.member: Member
        self.connection = 0
        self.next_request = 1
        self.calls: list[Call] = []
        self.shown = 0
        self.seen = 0
        self.proven_ns = 0
        self.proof: tuple[int, int] | None = None
        """``(called_ns, needs)`` of a keepalive under way."""
        self.watches: dict[int, dict[str, Any]] = {}


class World:
    def __init__(self, seed: int, processes: int = 4, kinds: str = "all", with_log: bool = True) -> None:
        self.dice = Random(seed)
        self.openings = 0
        self.kinds = kinds
        self.with_log = with_log
        self.now_ns = 1_000
        self.log: list[Any] = []
        self.top = Member(0)
        self.members = [Member(number) for number in (1, 2, 3)]
        self.records: list[Record] = [Run("world", seed, 3)]
        self._connections = self._watches = self._values = 0
        self.processes = [Process(number) for number in range(processes)]
        for each in self.processes:
            self._connect(each)
            self._open(each)
        for path in ("/r", "/append", "/t"):
            self._write_now(self.processes[0], ops.Create(path))

    # --- time ---

    def run(self, steps: int) -> list[Record]:
        for _ in range(steps):
            self.now_ns += self.dice.choice((1, 3, MS, 20 * MS))
            self._step()
        self._finish()
        return self.records

    def _step(self) -> None:
        dice = self.dice
        process = dice.choice(self.processes)
        pick = dice.random()
        if not process.session:
            self._open(process)
        elif pick < 0.3:
            if len(process.calls) < 3:
                self._call(process)
        elif pick < 0.55:
            self._take_effect(process)
        elif pick < 0.75:
            self._answer(process)
        elif pick < 0.85:
            self._apply(dice.choice(self.members), dice.randint(1, 6))
        elif pick < 0.9:
            self._keepalive(process)
        elif pick < 0.94:
            self._watch(process)
        elif pick < 0.97:
            self._connect(process)
        elif pick < 0.985:
            self._expire()
        else:
            self._digest(dice.choice(self.members))

    def _finish(self) -> None:
        for each in self.members:
            self._apply(each, len(self.log))
        for process in self.processes:
            for call in list(process.calls):
                if call.needs >= 0 or self.dice.random() < 0.5:
                    self._take_effect(process, call)
                    self._apply(process.member, len(self.log))
                    self._answer(process, call)
            for call in list(process.calls):
                self._give_up(process, call)
        for each in self.members:
            self._apply(each, len(self.log))
            self._digest(each)
        self.records.append(Note(0, QUIESCED, {"members": (1, 2, 3)}, self.now_ns))

    # --- the cluster ---

    def _commit(self, command: Any) -> Any:
        """One entry: it has taken effect, and will be applied by the others."""
        entry = (len(self.log) + 1, self.now_ns // MS, 0, [command])
        self.log.append(entry)
        (answer,) = self.top.store.apply(*entry)
        for revision, index, _, changes in self.top.store.take_fresh():
            if self.with_log:
                self.records.append(Committed(revision, index, changes, self.now_ns))
        self.top.applied = len(self.log)
        return answer

    def _apply(self, member: Member, count: int) -> None:
        for entry in self.log[member.applied : member.applied + count]:
            member.applied += 1
            member.store.apply(*entry)
            for revision in member.store.take_fresh():
                self._tell(member, revision)
            member.store.take_ended()

    def _tell(self, member: Member, revision: Any) -> None:
        for process in self.processes:
            if process.member is member:
                for number, watch in process.watches.items():
                    if revision[0] > watch["told"]:
                        self._deliver(process, number, watch, revision)

    def _deliver(self, process: Process, number: int, watch: dict[str, Any], revision: Any) -> None:
        changes = tuple(each for each in revision[3] if concerns(watch["path"], watch["scope"], 0, each))
        if changes:
            watch["told"] = revision[0]
            self.records.append(
                WatchTold(process.number, process.connection, number, revision[0], changes, self.now_ns)
            )

    def _digest(self, member: Member) -> None:
        state = repr(sorted(member.store.tree.znodes.items())).encode()
        self.records.append(
            Digest(member.number, member.store.revision, f"{zlib.crc32(state):08x}", self.now_ns)
        )

    # --- sessions and connections ---

    def _open(self, process: Process) -> None:
        called_ns = self.now_ns
        self.openings += 1
        reply = self._commit((OPEN_SESSION, 1, 7, self.openings, TIMEOUT_MS, b"d" * 32, "", "me"))
        process.session, process.next_request = reply[0], 1
        process.proven_ns = called_ns
        self.now_ns += 1
        self._apply(process.member, len(self.log))
        self.records.append(SessionOpened(process.number, process.session, TIMEOUT_MS, self.now_ns))
        self.records.append(
            SessionProof(process.number, process.session, process.connection, called_ns, self.now_ns)
        )

    def _connect(self, process: Process) -> None:
        """To some member; its watches go on there."""
        for watch in process.watches.values():
            watch["told"] = max(watch["told"], process.shown)
        self._connections += 1
        process.connection = self._connections
        process.member = self.dice.choice(self.members)
        process.shown, process.proof = 0, None
        for number, watch in process.watches.items():
            self._open_watch(process, number, watch, watch["told"] + 1)

    def _keepalive(self, process: Process) -> None:
        if process.proof is None:
            process.proof = (self.now_ns, len(self.log))
        elif process.member.applied >= process.proof[1]:
            called_ns, process.proof = process.proof[0], None
            process.proven_ns = max(process.proven_ns, called_ns)
            self.records.append(
                SessionProof(process.number, process.session, process.connection, called_ns, self.now_ns)
            )

    def _expire(self) -> None:
        process = self.dice.choice(self.processes)
        if process.proof is not None or not process.session:
            return
        session = process.session
        if self.dice.random() < 0.5:
            self.now_ns = max(self.now_ns, process.proven_ns + TIMEOUT_MS * MS)
            self._commit((EXPIRE_SESSIONS, [session]))
            by = "member"
        else:
            self._commit((END_SESSION, session, 0))
            by = "request"
        process.session = 0
        self._apply(process.member, len(self.log))
        self.now_ns += 1
        for call in list(process.calls):
            if call.mode == "write":
                self._give_up(process, call)
        self.records.append(SessionOver(process.number, session, by, self.now_ns))

    # --- watches ---

    def _watch(self, process: Process) -> None:
        dice = self.dice
        if len(process.watches) > 2:
            number = dice.choice(sorted(process.watches))
            del process.watches[number]
            self.records.append(WatchOver(process.number, process.connection, number, "", 0, self.now_ns))
            return
        self._watches += 1
        watch = {"path": dice.choice(("/", "/r", "/r/a", "/t")), "scope": dice.choice(SCOPES), "told": 0}
        known = process.member.store.revision
        first = dice.choice((None, dice.randint(1, known + 1), known + 2))
        if first is None:
            self._apply(process.member, len(self.log))
        process.watches[self._watches] = watch
        self._open_watch(process, self._watches, watch, first)

    def _open_watch(self, process: Process, number: int, watch: dict[str, Any], first: int | None) -> None:
        store = process.member.store
        watch["told"] = store.revision if first is None else first - 1
        opened = WatchOpened(
            process.number, process.connection, number, watch["path"], watch["scope"], first, watch["told"], self.now_ns
        )  # fmt: skip
        self.records.append(opened)
        for revision in store.history.since(watch["told"] + 1):
            if revision[0] > watch["told"]:
                self._deliver(process, number, watch, revision)

    # --- operations ---

    def _call(self, process: Process) -> None:
        op = self._some_op(process)
        request, at_least, mode = 0, 0, "linearizable"
        if isinstance(op, WRITES):
            mode, request = "write", process.next_request
            process.next_request += 1
        elif self.dice.random() < 0.4:
            mode = self.dice.choice(("at_least", "local"))
            at_least = process.seen if mode == "at_least" else 0
        process.calls.append(Call(op, mode, at_least, self.now_ns, request))

    def _take_effect(self, process: Process, chosen: Call | None = None) -> None:
        """The next of its writes, or one of its reads, gets its place in the order."""
        waiting = [call for call in process.calls if call.needs < 0]
        writes = [call for call in waiting if call.mode == "write"]
        waiting = [call for call in waiting if call.mode != "write" or call is writes[0]]
        call = chosen or (self.dice.choice(waiting) if waiting else None)
        if call is None or call not in waiting:
            return
        if call.mode == "write":
            command = (REQUESTS, process.session, call.request - 1, [[call.request, call.op.row()]])
            ((call.reply,),) = (self._commit(command),)
        call.needs = len(self.log) if call.mode in ("write", "linearizable") else 0

    def _answer(self, process: Process, chosen: Call | None = None) -> None:
        ready = [
            call
            for call in process.calls
            if 0 <= call.needs <= process.member.applied and call.at_least <= process.member.store.revision
        ]
        call = chosen or (self.dice.choice(ready) if ready else None)
        if call is None or call not in ready:
            return
        process.calls.remove(call)
        if call.mode == "write" and self.dice.random() < 0.05:
            self._give_up(process, call, forget=False)
            return
        self.now_ns += 1
        store = process.member.store
        reply = call.reply
        if call.mode != "write":
            try:
                reply = (
                    0,
                    OK,
                    store.revision,
                    store.applied_index,
                    store.read(call.op.row(), MemberLimits()),
                )
            except CoordError as refused:
                reply = (0, refused.code, store.revision, store.applied_index, "", {})
        process.shown = max(process.shown, reply[2])
        process.seen = max(process.seen, reply[2])
        done = reply[1] == OK
        result = results.result_from_row(call.op.row(), reply[4], reply[2]) if done else None
        error = "" if done else ERRORS[reply[1]].slug
        self.records.append(
            Operation(
                process.number, process.connection, process.member.number, process.session, call.request, call.op,
                call.mode, call.at_least, call.called_ns, self.now_ns, "ok" if done else "refused", error,
                reply[2], reply[3], result,
            )
        )  # fmt: skip

    def _give_up(self, process: Process, call: Call, forget: bool = True) -> None:
        if forget:
            process.calls.remove(call)
        if call.mode == "write":
            session = self._session_of(process, call)
            self.records.append(
                Operation(
                    process.number, 0, 0, session, call.request, call.op, call.mode, 0, call.called_ns, None,
                    "unknown", "session_ended", None, None, None,
                )
            )  # fmt: skip

    def _session_of(self, process: Process, call: Call) -> int:
        """Of a call whose process may have no session any more: it was that of its process when it was called."""
        if process.session:
            return process.session
        opened = [
            each.session
            for each in self.records
            if isinstance(each, SessionOpened) and each.process == process.number
        ]
        return opened[-1]

    def _write_now(self, process: Process, op: Any) -> None:
        call = Call(op, "write", 0, self.now_ns, process.next_request)
        process.next_request += 1
        process.calls.append(call)
        self.now_ns += 1
        self._take_effect(process, call)
        self._apply(process.member, len(self.log))
        self._answer(process, call)

    # --- what they ask ---

    def _value(self) -> bytes:
        self._values += 1
        return b"v%d" % self._values

    def _some_op(self, process: Process) -> Any:
        dice = self.dice
        if self.kinds == "register" or dice.random() < 0.5:
            return self._register_op()
        if dice.random() < 0.4:
            return self._append_op()
        path = dice.choice(("/t/a", "/t/b", "/t/a/x", "/t/b/y", "/t/c/z"))
        value = self._value()
        return dice.choice(
            (
                ops.Create(path, value, parents=dice.random() < 0.5),
                ops.Create(path, value, dice.choice((ops.Kind.EPHEMERAL, ops.Kind.CONTAINER))),
                *[ops.Create("/t/e-", value, ops.Kind.EPHEMERAL, sequential=True)] * 4,
                ops.Create("/t/a/s-", value, sequential=True, parents=True),
                ops.Set(path, value, create=dice.random() < 0.5, parents=True),
                ops.Delete(path, subtree=dice.random() < 0.5),
                ops.Delete(path),
                ops.Delete(f"/t/e-{dice.randrange(5):010d}"),
                ops.List(dice.choice(("/t", "/t/a")), values=True, stats=True, limit=dice.choice((1, 100))),
                ops.Exists(path),
                ops.Get(path),
                ops.Multi(
                    (ops.Compare(ops.Target.EXISTS, path, ops.Operator.EQUAL, False),),
                    (
                        ops.Create("/t/d", value),
                        ops.Set("/t/d", value),
                        ops.Get("/t/d"),
                        ops.Create(path, value),
                    ),
                    (ops.List("/t"), ops.Exists(path)),
                ),
            )
        )

    def _register_op(self) -> Any:
        dice = self.dice
        key = dice.choice(("/r/a", "/r/b"))
        value = self._value()
        znode = self.top.store.tree.znodes.get(key)
        known = b"" if znode is None else znode[0]
        version = 0 if znode is None else znode[4] + dice.choice((0, 0, 0, 1))
        revision = 0 if znode is None else znode[2]
        same = ops.Compare(ops.Target.VALUE, key, ops.Operator.EQUAL, known)
        return dice.choice(
            (
                ops.Get(key), ops.Get(key), ops.Get(key), ops.Exists(key),
                ops.Set(key, value, create=True), ops.Set(key, value, create=True), ops.Set(key, value),
                ops.Set(key, value, version=version), ops.Set(key, value, revision=revision),
                ops.Multi((same,), (ops.Set(key, value),), (ops.Get(key),)),
                ops.Create(key, value), ops.Delete(key, version=version),
            )
        )  # fmt: skip

    def _append_op(self) -> Any:
        """Done blindly here: the store is right in any case, and the list that is set is the one that is there."""
        dice = self.dice
        compare: list[ops.Compare] = []
        then: list[ops.Set | ops.Get] = []
        for key in dice.sample(("/append/0", "/append/1", "/append/2"), dice.randint(1, 2)):
            znode = self.top.store.tree.znodes.get(key)
            if znode is None:
                compare.append(ops.Compare(ops.Target.EXISTS, key, ops.Operator.EQUAL, False))
            else:
                compare.append(ops.Compare(ops.Target.VERSION, key, ops.Operator.EQUAL, znode[4]))
            if znode is None or dice.random() < 0.7:
                old = b"" if znode is None else znode[0] + b" "
                then.append(ops.Set(key, old + self._value(), create=True))
            then.append(ops.Get(key))
        there = tuple(ops.Exists(each.path) for each in compare)
        return dice.choice(
            (ops.Multi(tuple(compare), tuple(then), there), ops.Get("/append/0"), ops.Get("/append/1"))
        )
