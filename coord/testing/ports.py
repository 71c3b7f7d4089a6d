"""Ports on loopback that stay ours while their member is down."""

import socket
from types import TracebackType
from typing import Self


class ReservedPorts:
    """``count`` ports that nobody else is given until :meth:`close`.

    Each is bound, and not listened on: whoever connects is refused, as long as no member listens there. A member can,
    as both its socket and ours say SO_REUSEADDR; the system itself gives such a port to nobody. Without this: 1. member
    2 is killed; 2. some connection of this machine is given its port for its own end; 3. member 2 cannot be restarted.
    """

    def __init__(self, count: int) -> None:
        self._sockets = [socket.socket() for _ in range(count)]
        try:
            for each in self._sockets:
                each.bind(("127.0.0.1", 0))
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        except OSError:
            self.close()
            raise
        self.numbers: list[int] = [each.getsockname()[1] for each in self._sockets]

    def close(self) -> None:
        for each in self._sockets:
            each.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
