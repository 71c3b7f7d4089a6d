"""``coord bench``: a load, and what it came to.

Speaks the protocol itself, a frame of requests at a time: each connection keeps its number of requests in
flight, and asks as many anew as were answered. So what is measured is the service more than this program.
"""

import contextlib
import itertools
import json
import random
import selectors
import socket
import time
from collections.abc import Callable, Iterable
from enum import StrEnum
from struct import Struct
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from coord.api.commands import Reply
from coord.api.errors import OK, CoordError, Unavailable, from_code
from coord.api.ops import Create, Get, ReadMode, Row, Set
from coord.cli.exits import exit_code
from coord.cli.options import EndpointsOption, JsonOption, split_endpoints
from coord.limits import MIB, SERVER_FRAME_MAX_BYTES
from coord.wire.cbor import DecodeError, array_of, dumps
from coord.wire.client_frames import (
    READS_FRAME,
    WRITES_FRAME,
    Goodbye,
    Hello,
    NewSession,
    Replies,
    ServerFrame,
    Welcome,
    decode_server_frame,
    encode_end_session,
    encode_hello,
)
from coord.wire.framing import FrameBuffer, encode_raw_frame

KEYS: Final = 1_000
TOP: Final = "/bench"
RECEIVE_BYTES: Final = 64 * 1024
CONNECT_S: Final = 10.0
SESSION_TIMEOUT_MS: Final = 30_000

_ID: Final = Struct(">BBQ")
_LIST_OF_2, _UINT64 = 0x82, 0x1B


class Work(StrEnum):
    SET = "set"
    CREATE = "create"
    GET = "get"
    MIXED = "mixed"
    CAS = "cas"


class Read(StrEnum):
    LINEARIZABLE = "linearizable"
    AT_LEAST = "at-least"
    LOCAL = "local"


_MODES: Final = {
    Read.LINEARIZABLE: ReadMode.LINEARIZABLE,
    Read.AT_LEAST: ReadMode.AT_LEAST,
    Read.LOCAL: ReadMode.LOCAL,
}


def bench(
    work: Annotated[Work, typer.Argument(help="What to ask for; mixed is 90 % get and 10 % set.")],
    connections: Annotated[int, typer.Option(min=1, max=10_000)] = 8,
    in_flight: Annotated[
        int, typer.Option(min=1, max=4_096, help="Requests in flight on each connection.")
    ] = 64,
    seconds: Annotated[float, typer.Option(min=0.1, max=86_400)] = 5.0,
    count: Annotated[
        int, typer.Option(min=0, help="So many requests, however long they take; 0: as the seconds say.")
    ] = 0,
    value_bytes: Annotated[int, typer.Option(min=0, max=MIB)] = 100,
    read: Annotated[Read, typer.Option(help="How fresh reads must be.")] = Read.LINEARIZABLE,
    endpoints: EndpointsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Load a cluster and print the rate and the latencies. Writes below /bench, which it leaves there."""
    plan = Plan(work, connections, in_flight, seconds, count, value_bytes, read, split_endpoints(endpoints))
    try:
        result = _run(plan, Console(stderr=True))
    except CoordError as error:
        typer.echo(f"coord bench: {error.message}", err=True)
        raise typer.Exit(exit_code(error)) from None
    if as_json:
        typer.echo(json.dumps(result))
    else:
        _show(result)
    if result["errors"]:
        raise typer.Exit(1)


class Plan:
    """What to do."""

    def __init__(
        self,
        work: Work,
        connections: int,
        in_flight: int,
        seconds: float,
        count: int,
        value_bytes: int,
        read: Read,
        endpoints: list[str],
    ) -> None:
        self.work = work
        self.connections = connections
        self.in_flight = in_flight
        self.seconds = seconds
        self.count = count
        self.value = random.randbytes(value_bytes)
        self.read = read
        self.endpoints = endpoints
        self.run = f"{random.getrandbits(40):010x}"  # creates are new to each run


class Tally:
    """What was measured, of all connections together."""

    def __init__(self) -> None:
        self.measuring = False
        self.done = 0
        self.errors: dict[str, int] = {}
        self.latencies: list[float] = []


class Connection:
    """One connection: keeps ``in_flight`` requests on their way."""

    def __init__(self, plan: Plan, number: int, tally: Tally) -> None:
        self._plan = plan
        self._number = number
        self._tally = tally
        self._buffer = FrameBuffer(SERVER_FRAME_MAX_BYTES)
        self._ids = itertools.count(1)
        self._sent: dict[int, tuple[float, int]] = {}  # id -> (when, slot)
        self._unanswered_writes: dict[int, None] = {}
        self._last_id = 0
        self._revision = 0
        self._socket: socket.socket
        self._next = _generator(plan, number)

    def fileno(self) -> int:
        return self._socket.fileno()

    def open(self) -> None:
        """Connect and open a session."""
        endpoint = self._plan.endpoints[self._number % len(self._plan.endpoints)]
        host, _, port = endpoint.rpartition(":")
        try:
            self._socket = socket.create_connection((host.strip("[]"), int(port)), CONNECT_S)
        except OSError as error:
            raise Unavailable(f"cannot connect to {endpoint}: {error}") from error
        self._socket.settimeout(None)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._send(encode_hello(Hello(NewSession(SESSION_TIMEOUT_MS), "coord bench", None)))
        frame = self._frames()[0]
        if not isinstance(frame, Welcome):
            raise Unavailable(f"{endpoint} answered a hello with {type(frame).__name__}")

    def prepare(self) -> None:
        """Make the znodes that the work needs; some may be there from another run."""
        for rows in _preparation(self._plan, self._number):
            self._write_and_wait(rows)

    def begin(self) -> None:
        """Send the first requests."""
        self._ask(range(self._plan.in_flight))

    def go_on(self) -> None:
        """Something can be read: take the answers, and ask as much again."""
        free: list[int] = []
        frames = self._frames()
        now = time.perf_counter()
        for frame in frames:
            if isinstance(frame, Replies):
                # A reply may come twice, from an overloaded cluster: that whose id is not waiting is passed over.
                free += [self._take(row, now) for row in frame.rows if row[0] in self._sent]
        if free:
            self._ask(free)

    def close(self) -> None:
        """End the session: the next run finds the table as it was."""
        with contextlib.suppress(OSError):  # measured is what was measured
            self._socket.sendall(encode_end_session(next(self._ids)))
        self._socket.close()

    def _take(self, row: Reply, now: float) -> int:
        sent, slot = self._sent.pop(row[0])
        self._unanswered_writes.pop(row[0], None)
        self._revision = max(self._revision, row[2])
        tally = self._tally
        if tally.measuring:
            tally.done += 1
            tally.latencies.append(now - sent)
            if row[1] != OK:
                slug = from_code(row[1], "").slug
                tally.errors[slug] = tally.errors.get(slug, 0) + 1
        return slot

    def _ask(self, slots: Iterable[int]) -> None:
        writes: list[bytes] = []
        reads: list[bytes] = []
        now = time.perf_counter()
        for slot in slots:
            is_write, op = self._next(slot)
            request = self._last_id = next(self._ids)
            self._sent[request] = (now, slot)
            item = _ID.pack(_LIST_OF_2, _UINT64, request) + op
            if is_write:
                self._unanswered_writes[request] = None
                writes.append(item)
            else:
                reads.append(item)
        data = b""
        if writes:
            confirmed = next(iter(self._unanswered_writes)) - 1
            data += encode_raw_frame(WRITES_FRAME, array_of([dumps(confirmed), *writes]))
        if reads:
            mode = _MODES[self._plan.read]
            at_least = self._revision if mode == ReadMode.AT_LEAST else 0
            data += encode_raw_frame(READS_FRAME, array_of([dumps(int(mode)), dumps(at_least), *reads]))
        self._send(data)

    def _write_and_wait(self, rows: list[Row]) -> None:
        confirmed = self._last_id
        items = []
        for row in rows:
            self._last_id = next(self._ids)
            items.append(dumps([self._last_id, row]))
        self._send(encode_raw_frame(WRITES_FRAME, array_of([dumps(confirmed), *items])))
        missing = len(rows)
        while missing:
            missing -= sum(len(frame.rows) for frame in self._frames() if isinstance(frame, Replies))

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise Unavailable(f"a member closed the connection: {error.strerror}") from error

    def _frames(self) -> list[ServerFrame]:
        """Wait for some frames."""
        frames: list[ServerFrame] = []
        while not frames:
            try:
                data = self._socket.recv(RECEIVE_BYTES)
            except OSError as error:
                raise Unavailable(f"a member closed the connection: {error.strerror}") from error
            if not data:
                raise Unavailable("a member closed the connection")
            try:
                frames = [decode_server_frame(raw) for raw in self._buffer.feed(data)]
            except DecodeError as error:
                raise Unavailable(f"a member sent what is not the protocol: {error}") from error
        for frame in frames:
            if isinstance(frame, Goodbye):
                raise from_code(frame.code, frame.message, frame.details)
        return frames


def _generator(plan: Plan, number: int) -> Callable[[int], tuple[bool, bytes]]:
    """Slot -> (is a write, encoded op) of the next request."""
    keys = itertools.count(number * 37)
    if plan.work is Work.CREATE:
        names = itertools.count()
        prefix = f"{TOP}/created-{plan.run}/{number}-"
        return lambda slot: (True, dumps(Create(f"{prefix}{next(names)}", plan.value).row()))
    if plan.work is Work.CAS:
        versions = dict.fromkeys(range(plan.in_flight), 0)

        def compare_and_set(slot: int) -> tuple[bool, bytes]:
            version = versions[slot]
            versions[slot] = version + 1
            return True, dumps(
                Set(f"{TOP}/cas-{plan.run}/{number}-{slot}", plan.value, version=version).row()
            )

        return compare_and_set
    sets = [dumps(Set(f"{TOP}/{key}", plan.value).row()) for key in range(KEYS)]
    gets = [dumps(Get(f"{TOP}/{key}").row()) for key in range(KEYS)]
    if plan.work is Work.SET:
        return lambda slot: (True, sets[next(keys) % KEYS])
    if plan.work is Work.GET:
        return lambda slot: (False, gets[next(keys) % KEYS])

    def mixed(slot: int) -> tuple[bool, bytes]:
        key = next(keys)
        return (True, sets[key % KEYS]) if key % 10 == 0 else (False, gets[key % KEYS])

    return mixed


def _preparation(plan: Plan, number: int) -> list[list[Row]]:
    if plan.work is Work.CAS:
        own = [f"{TOP}/cas-{plan.run}/{number}-{slot}" for slot in range(plan.in_flight)]
        return [[Create(path, plan.value, parents=True).row() for path in own]]
    if number:
        return []
    if plan.work is Work.CREATE:
        return [[Create(f"{TOP}/created-{plan.run}", parents=True).row()]]
    rows = [Set(f"{TOP}/{key}", plan.value, create=True, parents=True).row() for key in range(KEYS)]
    per_frame = max(1, MIB // (len(plan.value) + 64))
    return [rows[start : start + per_frame] for start in range(0, KEYS, per_frame)]


def _run(plan: Plan, console: Console) -> dict[str, Any]:
    tally = Tally()
    connections = [Connection(plan, number, tally) for number in range(plan.connections)]
    for connection in connections:
        connection.open()
        connection.prepare()
    with selectors.DefaultSelector() as selector:
        for connection in connections:
            selector.register(connection, selectors.EVENT_READ, connection)
            connection.begin()
        if not plan.count:
            _drive(selector, min(1.0, plan.seconds / 4))  # warm: what is measured is the steady state
        tally.measuring = True
        started = time.perf_counter()
        if plan.count:
            _drive_to_count(selector, plan.count, tally, console)
        else:
            _drive_and_show(selector, plan.seconds, tally, console)
        elapsed = time.perf_counter() - started
    for connection in connections:
        connection.close()
    latencies = sorted(tally.latencies)
    return {
        "work": plan.work.value,
        "read": plan.read.value,
        "connections": plan.connections,
        "in_flight": plan.in_flight,
        "value_bytes": len(plan.value),
        "seconds": round(elapsed, 3),
        "done": tally.done,
        "errors": tally.errors,
        "rate_per_second": round(tally.done / elapsed, 1),
        "p50_ms": _percentile_ms(latencies, 0.5),
        "p99_ms": _percentile_ms(latencies, 0.99),
        "p999_ms": _percentile_ms(latencies, 0.999),
        "max_ms": _percentile_ms(latencies, 1.0),
    }


def _drive(selector: selectors.BaseSelector, seconds: float) -> None:
    """Keep all connections at work. One thread and no tasks: a load that takes little of the machine it measures."""
    until = time.perf_counter() + seconds
    while (left := until - time.perf_counter()) > 0:
        for key, _ in selector.select(left):
            key.data.go_on()


def _drive_and_show(selector: selectors.BaseSelector, seconds: float, tally: Tally, console: Console) -> None:
    if not console.is_terminal:
        _drive(selector, seconds)
        return
    until = time.perf_counter() + seconds
    with console.status("measuring") as status:
        while (left := until - time.perf_counter()) > 0:
            before, done = time.perf_counter(), tally.done
            _drive(selector, min(left, 0.5))
            rate = (tally.done - done) / (time.perf_counter() - before)
            status.update(f"{rate:,.0f}/s, {max(left, 0):.0f} s to go")


def _drive_to_count(selector: selectors.BaseSelector, count: int, tally: Tally, console: Console) -> None:
    with console.status("measuring") as status:
        while tally.done < count:
            _drive(selector, 0.1)
            status.update(f"{tally.done:,} of {count:,}")


def _percentile_ms(latencies: list[float], part: float) -> float | None:
    if not latencies:
        return None
    return round(latencies[min(int(len(latencies) * part), len(latencies) - 1)] * 1000, 3)


def _show(result: dict[str, Any]) -> None:
    what = (
        f"{result['work']}, {result['connections']} by {result['in_flight']}, {result['value_bytes']} bytes"
    )
    table = Table(title=what)
    for column in ("rate/s", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "errors"):
        table.add_column(column, justify="right")
    errors = ", ".join(f"{count} {slug}" for slug, count in result["errors"].items()) or "none"
    table.add_row(
        f"{result['rate_per_second']:,.0f}",
        *(str(result[name]) for name in ("p50_ms", "p99_ms", "p999_ms", "max_ms")),
        errors,
    )
    Console().print(table)
