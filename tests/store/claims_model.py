"""What claims and fences should do, written as plainly as possible, on top of the plain tree of model.py.

One list of dicts, searched from end to end for every question; copied whole for a multi. Shares no code with
coord/store.
"""

import copy
from collections.abc import Iterator
from typing import Any

from coord.api.errors import (
    Claimed,
    Conflict,
    CoordError,
    LimitExceeded,
    NotAllowed,
    NotFound,
    NotHeld,
    StaleToken,
)
from coord.api.events import UNTIL_TOLD
from coord.api.ops import (
    Claim,
    ClaimFirst,
    ClaimInfo,
    Claims,
    ClaimSettings,
    Compare,
    Create,
    Delete,
    Fence,
    FencedWrite,
    HoldBack,
    Kind,
    Lane,
    Multi,
    Operator,
    Release,
    Set,
    SetLanes,
    Target,
)
from coord.api.paths import parent
from tests.store.model import Model

WRITES = (Create, Set, Release, Claim, ClaimSettings, HoldBack, SetLanes, Fence)
KEPT = (
    *("nodes", "claims", "settings", "delays", "fences", "next", "freed", "told"),
    *("held_back", "lanes", "paid_ms", "lost"),
)


class ClaimsModel(Model):
    def __init__(self) -> None:
        super().__init__()
        self.claims: list[dict[str, Any]] = []
        self.settings: dict[str, tuple[int, int]] = {}
        self.delays: dict[str, int] = {}
        self.held_back: dict[str, int] = {}
        self.lanes: dict[str, tuple[Lane, ...]] = {}
        self.paid_ms: dict[str, int] = {}
        """When what was granted of a lane is paid off."""
        self.lost: dict[str, int] = {}
        self.fences: dict[str, str] = {}
        self.next = 1
        self.freed: list[str] = []
        self.told: list[tuple[str, str, int, str, int]] = []
        """``(what, path, number, why, how many were lost before)`` of this revision's changes of claims."""
        self.tokens: list[tuple[int, int]] = []
        self.ever: dict[str, int] = {}
        """The last token of each path."""

    # --- one request -------------------------------------------------------------------------------------------------

    def request(self, session: int, request: int, op: Any) -> tuple[Any, ...]:
        if session not in self.sessions:
            return (30, self.revision, None)
        if request in self.sessions[session]:
            return self.sessions[session][request]
        before = {each: copy.deepcopy(getattr(self, each)) for each in KEPT}
        self.told = []
        self.now = self.revision + 1
        try:
            if isinstance(op, FencedWrite):
                self.tokens = list(op.tokens)
                result = self.op(op.op, session)
            else:
                result = self.op(op, session)
        except CoordError as error:
            for each in KEPT:
                setattr(self, each, before[each])
            self.told = []
            answer: tuple[Any, ...] = (error.code, self.revision, None)
        else:
            if self.wrote(op, result):
                self.settle()
                self.revision += 1
            answer = (0, self.revision, result)
        self.tokens = []
        self.sessions[session][request] = answer
        return answer

    def wrote(self, op: Any, result: Any) -> bool:
        if isinstance(op, FencedWrite):
            return self.wrote(op.op, result)
        if isinstance(op, Multi):
            branch = op.then if result[0] else op.otherwise
            return any(self.wrote(each, one) for each, one in zip(branch, result[1], strict=True))
        if isinstance(op, Delete):
            return bool(result)
        if isinstance(op, ClaimFirst):
            return bool(result[0] or result[1])
        return isinstance(op, WRITES)

    def end_as(self, session: int, expired: bool) -> None:
        if session not in self.sessions:
            return
        del self.sessions[session]
        self.told = []
        self.now = self.revision + 1
        owned = sorted(path for path, each in self.nodes.items() if each["owner"] == session)
        mine = [each for each in self.claims if each["session"] == session]
        for path in owned:
            self.remove(path)
        for each in mine:
            delay = self.settings.get(each["path"], (1, 0))[1]
            if expired and each["token"] and delay:
                self.delays[each["path"]] = self.time_ms + delay
            self.drop(each, "expired" if expired else "ended")
            if each["token"]:
                self.lose(each["path"])
            self.leave(each["path"])
        if owned or mine:
            self.settle()
            self.revision += 1

    def begin(self) -> None:
        """At the beginning of an entry, once its time has passed: rates have room again."""
        self.told = []
        self.now = self.revision + 1
        if self.settle():
            self.revision += 1

    def sweep(self) -> None:
        """At the end of an entry: TTLs in one revision, delays that are over in another."""
        self.told = []
        due = sorted(
            (each["deadline_ms"], path)
            for path, each in self.nodes.items()
            if each["ttl_ms"]
            and each["deadline_ms"] <= self.time_ms
            and not self.children(path)
            and not self.at(path)
        )
        self.now = self.revision + 1
        for _, path in due:
            self.remove(path)
        if due:
            self.revision += 1
        self.now = self.revision + 1
        both = (*self.delays.items(), *self.held_back.items())
        over = sorted({(until, path) for path, until in both if until <= self.time_ms})
        for until, path in over:
            for table in (self.delays, self.held_back):
                if table.get(path) == until:
                    del table[path]
            self.freed.append(path)
        before = len(self.nodes)
        for _, path in over:
            if path in self.nodes and self.nodes[path]["kind"] is Kind.CONTAINER:
                self.leave(path)
        if self.settle() or len(self.nodes) < before:
            self.revision += 1

    # --- ops ---------------------------------------------------------------------------------------------------------

    def op(self, op: Any, session: int) -> Any:
        if isinstance(op, Multi):
            succeeded = all(self.holds(each) for each in op.compare)
            return (
                succeeded,
                tuple(self.op(each, session) for each in (op.then if succeeded else op.otherwise)),
            )
        if isinstance(op, Claim):
            return self.claim(op, session)
        if isinstance(op, ClaimFirst):
            return self.claim_first(op, session)
        if isinstance(op, Release):
            return self.release(op, session)
        if isinstance(op, ClaimSettings):
            return self.configure(op)
        if isinstance(op, HoldBack | SetLanes):
            return self.say(op)
        if isinstance(op, Fence):
            self.guard(op.path)
            if op.claim is None and op.path not in self.fences:
                raise NotFound("")
            self.fences.pop(op.path, None)
            if op.claim is not None:
                self.fences[op.path] = op.claim
            return None
        if isinstance(op, Claims | ClaimInfo):
            raise AssertionError(op)
        if isinstance(op, Create | Set | Delete):
            path = op.path
            if isinstance(op, Create) and op.sequential:
                number = self.nodes.get(parent(path), {"next": 0})["next"]
                while f"{path}{number:010d}" in self.nodes:
                    number += 1
                path = f"{path}{number:010d}"
            if path != "/" or not isinstance(op, Delete):
                self.guard(path)
        if isinstance(op, Delete) and op.subtree and op.path in self.nodes and op.path != "/":
            self.find(op)
            for fence in self.fences:
                if fence.startswith(f"{op.path}/") and fence in self.nodes:
                    self.guard(fence, at=fence)
        return super().op(op, session)

    def guard(self, path: str, at: str | None = None, claiming: bool = False) -> None:
        for fence, claim in self.fences.items():
            inside = path == fence or fence == "/" or path.startswith(f"{fence}/")
            if not inside or (at is not None and fence != at) or (claiming and claim == path):
                continue
            current = [(1, each["token"]) for each in self.claims if each["path"] == claim and each["token"]]
            if not any(token in current for token in self.tokens):
                raise StaleToken("")

    def claim(self, op: Claim, session: int) -> Any:
        if op.path in self.nodes:
            if self.nodes[op.path]["kind"] is Kind.EPHEMERAL:
                raise NotAllowed("")
            if op.capacity not in (0, self.capacity(op.path)):
                raise Conflict("")
        elif not op.create:
            raise NotFound("")
        else:
            self.guard(op.path, claiming=True)
            if op.capacity > 1:
                self.settings[op.path] = (op.capacity, 0)
        if not op.shared and op.units > self.capacity(op.path):
            raise LimitExceeded("")
        waiters = [each for each in self.at(op.path) if not each["token"] and not each["first"]]
        for_any = self.for_any(op.path)
        free = (
            not waiters
            and not self.paused(op.path)
            and self.have_room(op.path)
            and self.fits(op.path, op.units, op.shared)
            and (self.holders(op.path) or not for_any)
        )
        if not free and not op.wait:
            raise Claimed("")
        if op.path not in self.nodes:
            self.create(Create(op.path, kind=Kind.CONTAINER, parents=op.parents), session, self.revision + 1)
        made = self.new(op.path, session, op.units, op.shared, op.label)
        if free:
            self.hold(made, op.path)
            return (made["number"], self.revision + 1, 0, 1, self.lost.get(op.path, 0))
        self.told.append(("queued", op.path, made["number"], "", 0))
        return (made["number"], 0, len(waiters), 1, self.lost.get(op.path, 0))

    def claim_first(self, op: ClaimFirst, session: int) -> Any:
        if op.parent not in self.nodes:
            raise NotFound("")
        if self.nodes[op.parent]["kind"] is Kind.EPHEMERAL:
            raise NotAllowed("")
        found = []
        if not any(each["first"] for each in self.at(op.parent)) and op.parent not in self.held_back:
            for child in self.children(op.parent):
                path = f"{op.parent.rstrip('/')}/{child}"
                if len(found) < op.count and self.is_free(path):
                    made = self.new(path, session, 1, False, op.label)
                    self.hold(made, path)
                    value = self.nodes[path]["value"] if op.values else None
                    found.append((made["number"], child, value, self.lost.get(path, 0)))
        if not found and op.wait:
            made = self.new(op.parent, session, 1, False, op.label)
            made["first"] = True
            self.told.append(("queued", op.parent, made["number"], "", 0))
            return (made["number"], (), 1)
        return (0, tuple(found), 1)

    def release(self, op: Release, session: int) -> Any:
        mine = next((each for each in self.claims if each["number"] == op.number), None)
        if mine is None or (mine["session"] != session and not op.force):
            raise NotHeld("")
        path, token = mine["path"], mine["token"]
        if not op.to:
            self.drop(mine, "released" if mine["session"] == session else "forced")
            if token and mine["session"] != session:
                self.lose(path)
            self.leave(path)
            return token
        other = next((each for each in self.claims if each["number"] == op.to), None)
        if other is None or not token or other["token"] or other["first"] or other["path"] != path:
            raise Conflict("")
        others = [each for each in self.holders(path) if each is not mine]
        if mine["shared"] and other["shared"]:
            fits = True
        elif mine["shared"] or other["shared"]:
            fits = not others
        else:
            used = sum(each["units"] for each in others)
            fits = other["units"] <= mine["units"] or (
                not self.paused(path) and used + other["units"] <= self.capacity(path)
            )
        if not fits:
            raise Conflict("")
        self.drop(mine, "handed on")
        if mine["session"] != session:
            self.lose(path)
        self.hold(other, path, "handed on")
        return token

    def configure(self, op: ClaimSettings) -> None:
        if op.path not in self.nodes:
            raise NotFound("")
        if self.nodes[op.path]["kind"] is Kind.EPHEMERAL:
            raise NotAllowed("")
        had = self.settings.pop(op.path, None)
        if (op.capacity, op.lock_delay_ms) != (1, 0):
            self.settings[op.path] = (op.capacity, op.lock_delay_ms)
        if op.path in self.delays:
            self.delays[op.path] = min(self.delays[op.path], self.time_ms + op.lock_delay_ms)
            if not op.lock_delay_ms:
                del self.delays[op.path]
        self.freed.append(op.path)
        if had and self.nodes[op.path]["kind"] is Kind.CONTAINER:
            self.leave(op.path)

    def say(self, op: HoldBack | SetLanes) -> None:
        if op.path not in self.nodes:
            raise NotFound("")
        if self.nodes[op.path]["kind"] is Kind.EPHEMERAL:
            raise NotAllowed("")
        over = False
        if isinstance(op, SetLanes):
            self.lanes.pop(op.path, None)
            if op.lanes:
                self.lanes[op.path] = op.lanes
            over = True
        elif op.delay_ms == 0:
            self.held_back.pop(op.path, None)
            over = True
        else:
            self.held_back[op.path] = UNTIL_TOLD if op.delay_ms is None else self.time_ms + op.delay_ms
        if over:
            self.freed.append(op.path)
            if self.nodes[op.path]["kind"] is Kind.CONTAINER:
                self.leave(op.path)

    # --- what claims do ----------------------------------------------------------------------------------------------

    def at(self, path: str) -> list[dict[str, Any]]:
        return [each for each in self.claims if each["path"] == path]

    def holders(self, path: str) -> list[dict[str, Any]]:
        return [each for each in self.at(path) if each["token"]]

    def capacity(self, path: str) -> int:
        return self.settings.get(path, (1, 0))[0]

    def fits(self, path: str, units: int, shared: bool) -> bool:
        holders = self.holders(path)
        if shared:
            return all(each["shared"] for each in holders)
        return not any(each["shared"] for each in holders) and (
            sum(each["units"] for each in holders) + units <= self.capacity(path)
        )

    def paused(self, path: str) -> bool:
        return path in self.delays or path in self.held_back

    def have_room(self, path: str) -> bool:
        """All lanes of ``path``."""
        for lane in self.lanes.get(path, ()):
            held = [
                each
                for each in self.claims
                if each["token"] and lane.name in [one.name for one in self.lanes.get(each["path"], ())]
            ]
            if lane.width and len(held) >= lane.width:
                return False
            ahead_ms = self.paid_ms.get(lane.name, 0) - self.time_ms
            if lane.interval_ms and ahead_ms > (lane.burst - 1) * lane.interval_ms:
                return False
        return True

    def is_free(self, path: str) -> bool:
        """Whether who wants any child of its parent can have it."""
        return (
            not [each for each in self.at(path) if not each["first"]]
            and not self.paused(path)
            and self.nodes[path]["kind"] is not Kind.EPHEMERAL
            and self.have_room(path)
        )

    def for_any(self, path: str) -> list[dict[str, Any]]:
        """Those who wait for any child of the parent of ``path``, unless they are held back."""
        if path == "/" or parent(path) in self.held_back:
            return []
        return [each for each in self.at(parent(path)) if each["first"]]

    def lose(self, path: str) -> None:
        if path in self.nodes:
            self.lost[path] = self.lost.get(path, 0) + 1

    def new(self, path: str, session: int, units: int, shared: bool, label: bytes) -> dict[str, Any]:
        made = {
            "number": self.next, "path": path, "session": session, "units": units, "shared": shared, "label": label,
            "first": False, "token": 0,
        }  # fmt: skip
        self.next += 1
        self.claims.append(made)
        return made

    def hold(self, claim: dict[str, Any], path: str, why: str = "") -> None:
        token = self.revision + 1
        assert token >= self.ever.get(path, 0)
        self.ever[path] = token
        claim["token"], claim["path"], claim["first"] = token, path, False
        for lane in self.lanes.get(path, ()) if why != "handed on" else ():
            if lane.interval_ms:
                self.paid_ms[lane.name] = max(self.paid_ms.get(lane.name, 0), self.time_ms) + lane.interval_ms
        self.told.append(("claimed", path, claim["number"], why, self.lost.get(path, 0)))

    def drop(self, claim: dict[str, Any], why: str) -> None:
        self.claims = [each for each in self.claims if each["number"] != claim["number"]]
        what = "released" if claim["token"] else "withdrawn"
        self.told.append((what, claim["path"], claim["number"], why, 0))
        self.freed.append(claim["path"])

    def settle(self) -> bool:
        """Whoever has waited longest, of those who want this very znode and those who want any child of its parent."""
        granted = False
        for path in dict.fromkeys(self.freed):
            while path in self.nodes and path not in self.lanes and (claim := self.next_at(path)) is not None:
                self.hold(claim, path)
                granted = True
        self.freed = []
        # Then those who are bound together by lanes, and those who may have any child: who came first goes first.
        while turns := [*self.turns()]:
            _, claim, path = min(turns, key=lambda turn: turn[0])
            self.hold(claim, path)
            granted = True
        return granted

    def next_at(self, path: str) -> dict[str, Any] | None:
        if self.paused(path) or not self.have_room(path):
            return None
        those = [each for each in self.at(path) if not each["token"] and not each["first"]]
        if those and not self.fits(path, those[0]["units"], those[0]["shared"]):
            return None
        if not self.holders(path) and self.nodes[path]["kind"] is not Kind.EPHEMERAL:
            those += self.for_any(path)
        those.sort(key=lambda each: int(each["number"]))
        if not those or not self.fits(path, those[0]["units"], those[0]["shared"]):
            return None
        return those[0]

    def turns(self) -> Iterator[tuple[int, dict[str, Any], str]]:
        """``(by whose number it is their turn, the claim, at which path)``."""
        for path in self.lanes:
            own = [each["number"] for each in self.at(path) if not each["token"] and not each["first"]]
            claim = self.next_at(path)
            if own and claim is not None:
                yield min(own), claim, path
        for above in {each["path"] for each in self.claims if each["first"]} - {*self.held_back}:
            free = [
                path for path in self.nodes if path != "/" and parent(path) == above and self.is_free(path)
            ]
            if free:
                first = min(
                    (each for each in self.at(above) if each["first"]), key=lambda each: int(each["number"])
                )
                yield first["number"], first, min(free, key=lambda path: path.rpartition("/")[2])

    def leave(self, path: str) -> None:
        """A claim at ``path`` went."""
        if self.at(path):
            return
        found = self.nodes[path]
        if found["kind"] is Kind.TTL:
            found["deadline_ms"] = self.time_ms + found["ttl_ms"]
        elif found["kind"] is Kind.CONTAINER and not self.children(path) and not self.spoken_of(path):
            self.remove(path)

    def spoken_of(self, path: str) -> bool:
        return any(path in table for table in (self.settings, self.held_back, self.lanes))

    # --- the tree, with claims in it ---------------------------------------------------------------------------------

    def add(self, path: str, made: Any) -> None:
        super().add(path, made)
        self.freed.append(path)

    def remove(self, path: str) -> None:
        for each in self.at(path):
            self.drop(each, "deleted")
        for table in (self.settings, self.delays, self.held_back, self.lanes, self.lost):
            table.pop(path, None)  # type: ignore[attr-defined]
        del self.nodes[path]
        above = parent(path)
        self.touch(above)
        kept = self.at(above) or self.spoken_of(above) or self.children(above)
        if self.nodes[above]["kind"] is Kind.CONTAINER and not kept:
            self.remove(above)

    def holds(self, compare: Compare) -> bool:
        if compare.target < Target.CLAIM_TOKEN:
            return super().holds(compare)
        if compare.path not in self.nodes:
            return False
        holders = self.holders(compare.path)
        token = max((each["token"] for each in holders), default=0)
        actual: Any = {
            Target.CLAIM_TOKEN: token,
            Target.CLAIM_HOLDER: next((each["session"] for each in holders if each["token"] == token), 0),
            Target.CLAIM_COUNT: len(holders),
        }[compare.target]
        return {
            Operator.EQUAL: actual == compare.operand,
            Operator.NOT_EQUAL: actual != compare.operand,
            Operator.LESS: actual < int(compare.operand),
            Operator.LESS_OR_EQUAL: actual <= int(compare.operand),
            Operator.GREATER: actual > int(compare.operand),
            Operator.GREATER_OR_EQUAL: actual >= int(compare.operand),
        }[compare.operator]
