"""Watches: ``python -m race.fanout coord watch-one --connections 100 --in-flight 100 --endpoints …``

Each connection opens its watches (all of the very same znode, or each of one of its own), and the znodes are set; each
event is counted, with the time since the sets were sent. Frames are written by hand, as in ``coord bench``: what is to
be measured is the service. What is counted was delivered: whatever comes is decoded, and the watches that it is for
are counted; but what is byte by byte the same as before is not decoded again.
"""

import argparse
import itertools
import json
import select
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from coord.api.ops import Row, Set, WatchScope
from coord.limits import SERVER_FRAME_MAX_BYTES
from coord.wire.cbor import array_of, dumps, loads
from coord.wire.client_frames import (
    EVENTS,
    WRITES_FRAME,
    Goodbye,
    Hello,
    NewSession,
    Replies,
    ServerFrame,
    Watch,
    decode_server_frame,
    encode_hello,
    encode_watch,
)
from coord.wire.framing import FrameBuffer, RawFrame, encode_raw_frame
from race.zookeeper_frames import ZooKeeperConnection

SETS_PER_FRAME = 64
SESSION_MS = 600_000
WATCHES_AT_ONCE = 1_000
"""Unanswered, on one connection."""
RECEIVE_BYTES = 64 * 1024
"""More would be allocated by mmap, and given back, for every small frame."""
KNOWN: dict[bytes, int] = {}
"""What was decoded already, and how many events it was."""
KNOWN_MAX = 1_000
WARM_S = 3.0
"""Not measured: ZooKeeper's machines compile meanwhile."""


class Watching(Protocol):
    """A connection of any system."""

    def fileno(self) -> int: ...
    def make(self, paths: Sequence[str], value: bytes) -> None: ...
    def open_watches(self, paths: Sequence[str]) -> None: ...
    def set(self, paths: Sequence[str], value: bytes) -> None: ...
    def delivered(self) -> int: ...


class Connection:
    """A session of coord, with its watches."""

    def __init__(self, endpoint: str) -> None:
        host, _, port = endpoint.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), 30)
        self.socket.settimeout(None)  # with one, each call would ask the kernel twice
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.ids = itertools.count(1)
        self.written = 0
        self._buffer = FrameBuffer(SERVER_FRAME_MAX_BYTES)
        self.socket.sendall(encode_hello(Hello(NewSession(SESSION_MS), "coord fan-out", None)))
        self.frames()

    def fileno(self) -> int:
        return self.socket.fileno()

    def frames(self) -> list[ServerFrame]:
        """What has arrived, at least one."""
        found: list[RawFrame] = []
        while not found:
            found = self._buffer.feed(self._received())
        return [self._decoded(raw) for raw in found]

    def delivered(self) -> int:
        """To how many watches what has arrived brings a change."""
        data = self._received()
        whole = not self._buffer.pending_bytes
        if whole:
            count = KNOWN.get(data)
            if count is not None:
                return count
        count = 0
        for raw in self._buffer.feed(data):
            if raw[0] == EVENTS:
                for _, _, events in loads(raw[1]):
                    for _, watches in events:
                        count += len(watches)
            else:
                self._decoded(raw)
        if whole and not self._buffer.pending_bytes:
            if len(KNOWN) >= KNOWN_MAX:
                KNOWN.clear()
            KNOWN[data] = count
        return count

    def make(self, paths: Sequence[str], value: bytes) -> None:
        for start in range(0, len(paths), SETS_PER_FRAME):
            some = paths[start : start + SETS_PER_FRAME]
            self._write([Set(path, value, create=True, parents=True).row() for path in some])
            self._await_answers(len(some))

    def open_watches(self, paths: Sequence[str]) -> None:
        for start in range(0, len(paths), WATCHES_AT_ONCE):
            some = list(enumerate(paths, 1))[start : start + WATCHES_AT_ONCE]
            watches = [Watch(next(self.ids), at, path, WatchScope.ZNODE, None) for at, path in some]
            self.socket.sendall(b"".join(map(encode_watch, watches)))
            self._await_answers(len(some))

    def set(self, paths: Sequence[str], value: bytes) -> None:
        for start in range(0, len(paths), SETS_PER_FRAME):
            self._write([Set(path, value).row() for path in paths[start : start + SETS_PER_FRAME]])

    def _write(self, rows: list[Row]) -> None:
        items = []
        confirmed = self.written
        for row in rows:
            self.written = next(self.ids)
            items.append(dumps([self.written, row]))
        self.socket.sendall(encode_raw_frame(WRITES_FRAME, array_of([dumps(confirmed), *items])))

    def _await_answers(self, count: int) -> None:
        while count > 0:
            for frame in self.frames():
                if isinstance(frame, Replies):
                    count -= len(frame.rows)

    def _received(self) -> bytes:
        data = self.socket.recv(RECEIVE_BYTES)
        if not data:
            raise SystemExit("a member closed the connection")
        return data

    @staticmethod
    def _decoded(raw: RawFrame) -> ServerFrame:
        frame = decode_server_frame(raw)
        if isinstance(frame, Goodbye):
            raise SystemExit(f"a member said goodbye: {frame.message}")
        return frame


def rounds(
    connections: Sequence[Watching],
    written: Sequence[tuple[Watching, Sequence[str]]],
    value: bytes,
    watches: int,
) -> Iterator[list[tuple[float, int]]]:
    """Again and again: set, and await all events. Yields how long each lot of events took, and how many they were."""
    by_number = {connection.fileno(): connection for connection in connections}
    with select.epoll() as poller:
        for number in by_number:
            poller.register(number, select.EPOLLIN)
        while True:
            came: list[tuple[float, int]] = []
            sent_at = time.perf_counter()
            for connection, paths in written:
                connection.set(paths, value)
            awaited = watches
            while awaited > 0:
                for number, _ in poller.poll(10, len(by_number)):
                    count = by_number[number].delivered()
                    if count:
                        awaited -= count
                        came.append((time.perf_counter() - sent_at, count))
            yield came


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("system", choices=("coord", "zookeeper"))
    parser.add_argument("work", choices=("watch-one", "watch-own"))
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--in-flight", type=int, default=100, help="watches of each connection")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--value-bytes", type=int, default=100)
    parser.add_argument("--endpoints", required=True)
    arguments = parser.parse_args()
    endpoints, value = arguments.endpoints.split(","), bytes(arguments.value_bytes)
    count, each = arguments.connections, arguments.in_flight
    connect: Callable[[str], Watching] = Connection if arguments.system == "coord" else ZooKeeperConnection
    connections = [connect(endpoints[number % len(endpoints)]) for number in range(count)]
    top = f"/fanout-{time.time_ns()}"
    connections[0].make([top], value)
    if arguments.work == "watch-one":
        paths = [[f"{top}/0"] * each for _ in connections]
        written = [(connections[0], [f"{top}/0"])]
    else:
        paths = [[f"{top}/{number * each + at}" for at in range(each)] for number in range(count)]
        written = list(zip(connections, paths, strict=True))
    for connection, mine in written:
        connection.make(mine, value)
    for connection, mine in zip(connections, paths, strict=True):
        connection.open_watches(mine)
    latencies: list[tuple[float, int]] = []
    made = rounds(connections, written, value, count * each)
    warm_at = time.perf_counter() + WARM_S
    while time.perf_counter() < warm_at:
        next(made)
    began = time.perf_counter()
    while time.perf_counter() - began < arguments.seconds:
        latencies += next(made)
    took = time.perf_counter() - began
    done = sum(weight for _, weight in latencies)
    row: dict[str, float] = {"done": done, "errors": 0, "rate_per_second": done / took}
    latencies.sort()
    for name, share in (("p50_ms", 0.5), ("p99_ms", 0.99), ("p999_ms", 0.999)):
        passed = itertools.accumulate(weight for _, weight in latencies)
        upto = zip(latencies, passed, strict=True)
        row[name] = next(took for (took, _), so_far in upto if so_far >= done * share) * 1000
    print(json.dumps(row))


if __name__ == "__main__":
    main()
