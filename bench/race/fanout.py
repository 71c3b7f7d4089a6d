"""Watches on coord: ``python -m race.fanout watch-one|watch-own --connections 100 --in-flight 100 --endpoints …``

Each connection opens its watches (all of the very same znode, or each of one of its own); the first sets them; each
event is counted, with the time since the set was sent. Frames are written by hand, as in ``coord bench``: what is to be
measured is the service.
"""

import argparse
import itertools
import json
import selectors
import socket
import time

from coord.api.ops import Row, Set, WatchScope
from coord.limits import SERVER_FRAME_MAX_BYTES
from coord.wire.cbor import array_of, dumps
from coord.wire.client_frames import (
    WRITES_FRAME,
    Events,
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
from coord.wire.framing import FrameBuffer, encode_raw_frame

TOP = "/fanout"
SETS_PER_FRAME = 64
SESSION_MS = 600_000
WATCHES_AT_ONCE = 1_000
"""Unanswered, on one connection."""
RECEIVE_BYTES = 256 * 1024


class Connection:
    def __init__(self, endpoint: str) -> None:
        host, _, port = endpoint.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), 30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.ids = itertools.count(1)
        self.written = 0
        self._buffer = FrameBuffer(SERVER_FRAME_MAX_BYTES)
        self.socket.sendall(encode_hello(Hello(NewSession(SESSION_MS), "coord fan-out", None)))
        self.frames()

    def fileno(self) -> int:
        return self.socket.fileno()

    def frames(self) -> list[ServerFrame]:
        found: list[ServerFrame] = []
        while not found:
            data = self.socket.recv(RECEIVE_BYTES)
            if not data:
                raise SystemExit("a member closed the connection")
            found = [decode_server_frame(raw) for raw in self._buffer.feed(data)]
        for frame in found:
            if isinstance(frame, Goodbye):
                raise SystemExit(f"a member said goodbye: {frame.message}")
        return found

    def write(self, rows: list[Row]) -> None:
        items = []
        confirmed = self.written
        for row in rows:
            self.written = next(self.ids)
            items.append(dumps([self.written, row]))
        self.socket.sendall(encode_raw_frame(WRITES_FRAME, array_of([dumps(confirmed), *items])))

    def await_answers(self, count: int) -> None:
        while count > 0:
            for frame in self.frames():
                if isinstance(frame, Replies):
                    count -= len(frame.rows)


def _delivered(frame: ServerFrame) -> int:
    """To how many watches a frame brings a change."""
    if not isinstance(frame, Events):
        return 0
    return sum(len(watches) for _, _, changes in frame.groups for _, watches in changes)


def make(connection: Connection, paths: list[str], value: bytes) -> None:
    for start in range(0, len(paths), SETS_PER_FRAME):
        some = paths[start : start + SETS_PER_FRAME]
        connection.write([Set(path, value, create=True, parents=True).row() for path in some])
        connection.await_answers(len(some))


def open_watches(connections: list[Connection], paths: list[list[str]]) -> None:
    """Of each connection, on its paths."""
    for connection, mine in zip(connections, paths, strict=True):
        for start in range(0, len(mine), WATCHES_AT_ONCE):
            some = list(enumerate(mine, 1))[start : start + WATCHES_AT_ONCE]
            watches = [Watch(next(connection.ids), at, path, WatchScope.ZNODE, None) for at, path in some]
            connection.socket.sendall(b"".join(map(encode_watch, watches)))
            connection.await_answers(len(some))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", choices=("watch-one", "watch-own"))
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--in-flight", type=int, default=100, help="watches of each connection")
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--value-bytes", type=int, default=100)
    parser.add_argument("--endpoints", required=True)
    arguments = parser.parse_args()
    endpoints, value = arguments.endpoints.split(","), bytes(arguments.value_bytes)
    count, each = arguments.connections, arguments.in_flight
    connections = [Connection(endpoints[number % len(endpoints)]) for number in range(count)]
    if arguments.work == "watch-one":
        paths = [[f"{TOP}/0"] * each for _ in connections]
    else:
        paths = [[f"{TOP}/{number * each + at}" for at in range(each)] for number in range(count)]
    written = sorted({path for mine in paths for path in mine})
    make(connections[0], written, value)
    open_watches(connections, paths)
    latencies: list[float] = []
    weights: list[int] = []
    began = time.perf_counter()
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection, selectors.EVENT_READ, connection)
        while time.perf_counter() - began < arguments.seconds:
            sent_at = time.perf_counter()
            for start in range(0, len(written), SETS_PER_FRAME):
                connections[0].write(
                    [Set(path, value).row() for path in written[start : start + SETS_PER_FRAME]]
                )
            awaited = count * each
            while awaited > 0:
                for key, _ in selector.select(10):
                    came = sum(_delivered(frame) for frame in key.data.frames())
                    if came:
                        awaited -= came
                        latencies.append(time.perf_counter() - sent_at)
                        weights.append(came)
    took = time.perf_counter() - began
    done = sum(weights)
    row: dict[str, float] = {"done": done, "errors": 0, "rate_per_second": done / took}
    ordered = sorted(zip(latencies, weights, strict=True))
    for name, share in (("p50_ms", 0.5), ("p99_ms", 0.99), ("p999_ms", 0.999)):
        passed = itertools.accumulate(weight for _, weight in ordered)
        row[name] = (
            next(took for (took, _), upto in zip(ordered, passed, strict=True) if upto >= done * share) * 1000
        )
    print(json.dumps(row))


if __name__ == "__main__":
    main()
