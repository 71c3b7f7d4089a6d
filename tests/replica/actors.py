"""Clients for random runs: they write, read, watch, reconnect and retry as a library would, and check what they get.

Each connection watches the whole tree from where the last one left off, so it must be told every revision there is.
"""

import random
from typing import Any

from coord.api.errors import OK, SessionEnded, Unavailable
from coord.api.events import DELETED
from coord.api.ops import (
    WATCH_CLAIMS,
    Claim,
    ClaimFirst,
    ClaimSettings,
    Compare,
    Create,
    Delete,
    Fence,
    FencedWrite,
    Get,
    Kind,
    Multi,
    Operator,
    Release,
    Set,
    Target,
    WatchScope,
)
from coord.wire import client_frames as frames
from coord.wire.client_frames import Hello, NewSession, ResumeSession
from tests.replica.cluster import Client, Cluster

TIMEOUTS_MS = (1_000, 1_000, 3_000, 20_000)
PATIENCE_MS = 1_000
KEYS = ("/k0", "/k1", "/k2")
LOCKS = ("/l0", "/l1", "/k0")


class Facts:
    """What all clients together know."""

    def __init__(self) -> None:
        self.acknowledged_revision = 0
        """The greatest of any write that was acknowledged to anybody."""
        self.written: dict[tuple[int, int], tuple[int, int]] = {}
        """(session, request) -> (status, revision), as acknowledged."""
        self.reads = 0
        self.granted = 0
        self.ended = 0
        self.moved = 0


class Actor:
    def __init__(self, cluster: Cluster, facts: Facts, seed: int, claims: bool = False) -> None:
        self.claims = claims
        """Whether it claims, too."""
        self.held: list[tuple[int, int]] = []
        """``(number, token or 0)`` of its claims, as far as replies told."""
        self.cluster = cluster
        self.facts = facts
        self.dice = random.Random(seed)
        self.client: Client | None = None
        self.session = 0
        self.secret = b""
        self.next_request = 1
        self.confirmed = 0
        self.unanswered: dict[int, Any] = {}
        self.reads: dict[int, tuple[int, str]] = {}
        """Request -> (what its revision must reach, path)."""
        self.keepalives: dict[int, None] = {}
        self.watch = 0
        self.told_revision = 0
        self.watching_revision = -1
        """What the present watch has told, -1 before it was opened."""
        self.looked_at = 0
        self.heard_ms = 0
        self.silent_until_ms = 0
        self.active = True

    # --- acting ------------------------------------------------------------------------------------------------------

    def act(self) -> None:
        """Once a tick."""
        if self.active and self.dice.random() < 0.005:
            self.silent_until_ms = self.cluster.now_ms + 1_500  # a long pause of its process
        if self.cluster.now_ms < self.silent_until_ms:
            return
        self.look()
        client = self.client
        if client is not None and (
            client.closed or self.cluster.now_ms - self.heard_ms > PATIENCE_MS or self.dice.random() < 0.004
        ):
            client.drop()
            self.client = None
            self.facts.moved += 1
        if self.client is None:
            if self.dice.random() < 0.3:
                self.connect()
            return
        assert client is not None
        if client.welcome is None:
            return
        if self.dice.random() < 0.05:
            self.keepalives[client.keepalive()] = None
        if not self.active:
            return
        if self.dice.random() < 0.25 and len(self.unanswered) < 12:
            rows = [(client.request(), self.some_op().row()) for _ in range(self.dice.choice((1, 1, 3)))]
            self.unanswered.update(rows)
            client.send(frames.encode_writes(self.confirmed_now(), rows))
        if self.dice.random() < 0.15:
            path = self.dice.choice(KEYS)
            self.reads[client.read(Get(path))] = (self.facts.acknowledged_revision, path)

    def confirmed_now(self) -> int:
        assert self.client is not None
        self.confirmed = max(self.confirmed, min(self.unanswered, default=self.client.next_request) - 1)
        return self.confirmed

    def some_claim(self) -> Any:
        pick, path = self.dice.random(), self.dice.choice(LOCKS)
        number, token = self.dice.choice(self.held[-4:] or [(1, 1)])
        if pick < 0.45:
            return Claim(path, self.dice.random() < 0.8, self.dice.random() < 0.4, 1, b"", True)
        if pick < 0.55:
            return ClaimFirst("/", 1, wait=True)
        if pick < 0.8:
            return Release(number)
        if pick < 0.85:
            return Release(self.dice.randrange(1, 50), force=True)
        if pick < 0.9:
            return ClaimSettings(path, 1, self.dice.choice((0, 200)))
        if pick < 0.93:
            return Multi((), (Release(number), Claim(path, create=True)))
        if pick < 0.96:
            return FencedWrite(((1, token),), Fence("/k1", self.dice.choice((None, "/l0"))))
        return FencedWrite(((1, token),), Set("/k1", b"fenced", create=True))

    def some_op(self) -> Any:
        if self.claims and self.dice.random() < 0.7:
            return self.some_claim()
        path = self.dice.choice(KEYS)
        value = b"%d/%d" % (self.session, self.dice.randrange(10**6))
        pick = self.dice.random()
        if pick < 0.5:
            return Set(path, value, create=True)
        if pick < 0.6:
            return Create("/e-", value, kind=Kind.EPHEMERAL, sequential=True)
        if pick < 0.7:
            return Delete(path)
        if pick < 0.8:
            return Create("/t-", value, kind=Kind.TTL, ttl_ms=300, sequential=True)
        return Multi(
            (Compare(Target.EXISTS, path, Operator.EQUAL, True),),
            (Set(path, value), Get(path)),
            (Create(path, value), Set("/", value)),
        )

    def connect(self) -> None:
        number = self.dice.choice(
            [number for number in self.cluster.members if self.cluster.up(number)] or [0]
        )
        if not number:
            return
        self.client = client = self.cluster.connect(number)
        client.next_request = self.next_request
        self.looked_at = 0
        self.heard_ms = self.cluster.now_ms
        self.watching_revision = -1
        self.reads.clear()
        self.keepalives.clear()
        session = (
            ResumeSession(self.session, self.secret)
            if self.session
            else NewSession(self.dice.choice(TIMEOUTS_MS))
        )
        client.hello(Hello(session, "", None))

    # --- looking at what came ----------------------------------------------------------------------------------------

    def look(self) -> None:
        client = self.client
        if client is None:
            return
        while self.looked_at < len(client.received):
            frame = client.received[self.looked_at]
            self.looked_at += 1
            self.heard_ms = self.cluster.now_ms
            if isinstance(frame, frames.Welcome):
                self.welcomed(client, frame)
            elif isinstance(frame, frames.Replies):
                for row in frame.rows:
                    self.reply(row)
            elif isinstance(frame, frames.Events):
                for group in frame.groups:
                    self.event(group)
            elif isinstance(frame, frames.Goodbye):
                if frame.code == SessionEnded.code:
                    self.over()
            else:
                raise AssertionError(frame)
        self.next_request = client.next_request

    def welcomed(self, client: Client, frame: frames.Welcome) -> None:
        if self.session:
            assert frame.session == self.session
        else:
            self.session, self.secret = frame.session, frame.secret
        if self.unanswered:
            client.send(frames.encode_writes(self.confirmed_now(), list(self.unanswered.items())))
        everything = WatchScope.SUBTREE | WATCH_CLAIMS
        self.watch = client.watch("/", self.told_revision + 1, everything)

    def over(self) -> None:
        """The session has ended: what was not answered is unknown."""
        self.session, self.secret = 0, b""
        self.next_request, self.confirmed = 1, 0
        self.unanswered.clear()
        self.held.clear()
        self.facts.ended += 1
        assert self.client is not None
        self.client.next_request = 1

    def reply(self, row: Any) -> None:
        request, status, revision = row[:3]
        facts = self.facts
        if request == self.watch:
            assert status == OK, row
            assert revision == self.told_revision
            self.watching_revision = revision
            return
        if self.watching_revision >= 0:
            # Nothing is shown that was not told before.
            assert self.watching_revision >= revision, "a reply shows what no event has told yet"
        if request in self.unanswered:
            if status == SessionEnded.code:
                return
            del self.unanswered[request]
            assert status in ((OK, 10, 11, 12, 16, 17, 18) if self.claims else (OK, 10, 11, 12)), row
            if status == OK and isinstance(row[4], list) and len(row[4]) == 4:
                self.held.append((row[4][0], row[4][1]))
            known = facts.written.setdefault((self.session, request), (status, revision))
            assert known == (status, revision), "two answers to one request"
            facts.acknowledged_revision = max(facts.acknowledged_revision, revision)
        elif request in self.reads:
            floor, path = self.reads.pop(request)
            if status == Unavailable.code:
                return
            assert revision >= floor, "a stale read"
            assert (row[4][0] if status == OK else None) == self.value_at(path, revision), (
                "not what was there then"
            )
            facts.reads += 1
        elif request in self.keepalives and status == OK:
            del self.keepalives[request]

    def event(self, group: frames.EventGroup) -> None:
        assert self.watching_revision >= 0
        assert group.revision == self.told_revision + 1, "events in order, without gaps, each once"
        self.told_revision = self.watching_revision = group.revision
        told = tuple(tuple(change) for change, _ in group.events)
        assert told == self.cluster.revisions[group.revision][3], "all of one revision together"

    def value_at(self, path: str, revision: int) -> bytes | None:
        for number in range(revision, 0, -1):
            for change in reversed(self.cluster.revisions[number][3]):
                if change[1] == path and change[0] <= DELETED:
                    return change[2]
        return None
