"""A blocking client of a few lines that sends whatever it is told, right or wrong."""

import socket
import struct
from typing import ClassVar

from coord.api.ops import Row
from coord.limits import SERVER_FRAME_MAX_BYTES
from coord.wire.client_frames import (
    Goodbye,
    Hello,
    NewSession,
    Replies,
    ServerFrame,
    Welcome,
    decode_server_frame,
    encode_hello,
    encode_reads,
    encode_writes,
)
from coord.wire.framing import FrameBuffer

TIMEOUT_S = 20.0


class RawClient:
    """One connection. ``frame()`` is the next frame, or ``None`` when the member hung up."""

    opened: ClassVar[list["RawClient"]] = []

    def __init__(self, port: int) -> None:
        self.opened.append(self)
        self.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        self._buffer = FrameBuffer(SERVER_FRAME_MAX_BYTES)
        self._frames: list[ServerFrame] = []
        self._last_id = 0

    def send(self, data: bytes) -> "RawClient":
        self.socket.sendall(data)
        return self

    def frame(self) -> ServerFrame | None:
        while not self._frames:
            try:
                data = self.socket.recv(1 << 20)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self._frames = [decode_server_frame(raw) for raw in self._buffer.feed(data)]
        return self._frames.pop(0)

    def goodbye(self) -> Goodbye:
        """The member's goodbye, which must come, and then the end of the connection."""
        frame = self.frame()
        assert isinstance(frame, Goodbye), frame
        assert self.frame() is None
        return frame

    def hello(self, timeout_ms: int = 10_000) -> Welcome:
        self.send(encode_hello(Hello(NewSession(timeout_ms) if timeout_ms else None, "raw", None)))
        frame = self.frame()
        assert isinstance(frame, Welcome), frame
        return frame

    def write(self, *rows: Row) -> list[tuple]:
        """The replies of one frame of writes, in order."""
        confirmed = self._last_id
        requests = []
        for row in rows:
            self._last_id += 1
            requests.append((self._last_id, row))
        return self._ask(encode_writes(confirmed, requests), len(requests))

    def read(self, *rows: Row, mode: int = 0, at_least: int = 0) -> list[tuple]:
        requests = []
        for row in rows:
            self._last_id += 1
            requests.append((self._last_id, row))
        return self._ask(encode_reads(mode, at_least, requests), len(requests))

    def _ask(self, data: bytes, count: int) -> list[tuple]:
        self.send(data)
        found: list[tuple] = []
        while len(found) < count:
            frame = self.frame()
            assert isinstance(frame, Replies), frame
            found += [tuple(row) for row in frame.rows]
        return sorted(found)

    def close(self) -> None:
        self.socket.close()


def close_all() -> None:
    """Close what a test left open."""
    while RawClient.opened:
        RawClient.opened.pop().close()


def raw_frame(frame_type: int, body: bytes) -> bytes:
    return struct.pack(">IB", len(body) + 1, frame_type) + body
