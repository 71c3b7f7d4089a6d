"""ZooKeeper's protocol, as much of it as watching takes: its frames written by hand, as ``fanout.py`` writes coord's.

Its Java client has two threads for each session. With 500 sessions on the machine that is measured these, and not the
servers, would bound what is delivered; see bench/README.md.
"""

import socket
from collections import Counter
from collections.abc import Sequence
from struct import Struct

CREATE, SET_DATA, ADD_WATCH = 1, 5, 106
PERSISTENT_WATCH = 0
DATA_CHANGED = 3
NOTIFICATION = -1
"""In the place of a request's number."""
NODE_EXISTS = -110
SESSION_MS = 40_000
"""The longest that a server with a tick of 2 s grants."""
WRITES_AT_ONCE = 64
RECEIVE_BYTES = 64 * 1024

_int = Struct(">i")
_two = Struct(">ii")
_connect = Struct(">iqiq")
_answer = Struct(">iqi")
_event = Struct(">iqiii")
_ALL, _ANYONE = 31, ("world", "anyone")


def _bytes(data: bytes) -> bytes:
    return _int.pack(len(data)) + data


def _text(text: str) -> bytes:
    return _bytes(text.encode())


PING = _bytes(_two.pack(-2, 11))
"""Keeps a session alive; answered with the same number."""


class ZooKeeperConnection:
    """A session, with its watches."""

    def __init__(self, endpoint: str) -> None:
        host, _, port = endpoint.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), 30)
        self.socket.settimeout(None)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._pending = b""
        self._requests = 0
        self._watches: Counter[str] = Counter()
        self._known: dict[bytes, int] = {}
        self.socket.sendall(_bytes(_connect.pack(0, 0, SESSION_MS, 0) + _bytes(bytes(16)) + b"\0"))
        while not self._frames(self._received()):
            pass

    def fileno(self) -> int:
        return self.socket.fileno()

    def make(self, paths: Sequence[str], value: bytes) -> None:
        """Create ``paths``, of which some may be there."""
        access = _int.pack(1) + _int.pack(_ALL) + b"".join(map(_text, _ANYONE))
        for start in range(0, len(paths), WRITES_AT_ONCE):
            some = paths[start : start + WRITES_AT_ONCE]
            self._send(CREATE, [_text(path) + _bytes(value) + access + _int.pack(0) for path in some])
            self._await_answers(len(some))

    def open_watches(self, paths: Sequence[str]) -> None:
        """The server keeps one for each path: a client that watches it twice tells both, as the Java client does."""
        self._watches.update(paths)
        own = list(self._watches)
        self._send(ADD_WATCH, [_text(path) + _int.pack(PERSISTENT_WATCH) for path in own])
        self._await_answers(len(own))

    def set(self, paths: Sequence[str], value: bytes) -> None:
        self._send(SET_DATA, [_text(path) + _bytes(value) + _int.pack(-1) for path in paths])

    def delivered(self) -> int:
        """To how many watches what has arrived brings a change."""
        data = self._received()
        if not self._pending:
            count = self._known.get(data)
            if count is not None:
                return count
        count = 0
        for frame in self._frames(data):
            if _int.unpack_from(frame)[0] == NOTIFICATION:
                _, _, _, kind, _ = _event.unpack_from(frame)
                if kind == DATA_CHANGED:
                    count += self._watches[frame[_event.size + _int.size :].decode()]
        if not self._pending and len(self._known) < 100:
            self._known[data] = count
        return count

    def _received(self) -> bytes:
        data = self.socket.recv(RECEIVE_BYTES)
        if not data:
            raise SystemExit("a ZooKeeper server closed the connection")
        return data

    def _frames(self, data: bytes) -> list[bytes]:
        data = self._pending + data
        frames = []
        start = 0
        while len(data) - start >= _int.size:
            end = start + _int.size + _int.unpack_from(data, start)[0]
            if end > len(data):
                break
            frames.append(data[start + _int.size : end])
            start = end
        self._pending = data[start:]
        return frames

    def _send(self, kind: int, bodies: Sequence[bytes]) -> None:
        requests = []
        for body in bodies:
            self._requests += 1
            requests.append(_bytes(_two.pack(self._requests, kind) + body))
        self.socket.sendall(b"".join(requests))

    def _await_answers(self, count: int) -> None:
        while count > 0:
            for frame in self._frames(self._received()):
                request, _, error = _answer.unpack_from(frame)
                if request != NOTIFICATION:
                    if error not in (0, NODE_EXISTS):
                        raise SystemExit(f"a ZooKeeper server refused a request: error {error}")
                    count -= 1
