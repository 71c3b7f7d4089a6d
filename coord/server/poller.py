"""The poller: one thread's wait for all its sockets, and for what other threads have to say.

trio would do it too, at 20 to 40 µs more for each time that something is waited for; and on its way to a quorum a write
is waited for by half a dozen threads and processes in turn. So the driver, which does nothing else, waits here, and
trio has what is rarer: starting and stopping, dialling, greeting.
"""

import selectors
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Final

READS: Final = selectors.EVENT_READ
WRITES: Final = selectors.EVENT_WRITE
WAKE_BYTES: Final = 4096


class Poller:
    """Sockets with what to call when they are ready, and calls from other threads.

    Belongs to the thread that polls, but for :meth:`call`.
    """

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._woken_end, self._waking_end = socket.socketpair()
        self._woken_end.setblocking(False)
        self._waking_end.setblocking(False)
        self._woken = False
        self._calls: deque[tuple[Callable[[Any], None], Any]] = deque()
        self._selector.register(self._woken_end, READS, self._take_wakes)

    def call(self, function: Callable[[Any], None], argument: Any) -> None:
        """Have ``function(argument)`` called by the thread that polls, in the order of these calls. From any thread.

        None is missed: it is kept before it is looked whether a wake is under way, and the one who polls clears that
        mark before it looks for calls.
        """
        self._calls.append((function, argument))
        if not self._woken:
            self._woken = True
            self._waking_end.send(b"\0")

    def watch(self, connection: socket.socket, events: int, ready: Callable[[int], None]) -> None:
        """Have ``ready(events)`` called whenever ``connection`` is ready for some of ``events``."""
        self._selector.register(connection, events, ready)

    def change(self, connection: socket.socket, events: int, ready: Callable[[int], None]) -> None:
        """Watch for other events from now on."""
        self._selector.modify(connection, events, ready)

    def unwatch(self, connection: socket.socket) -> None:
        """Forget it; before it is closed."""
        self._selector.unregister(connection)

    def poll(self, seconds: float) -> None:
        """Wait until something is ready, at most for ``seconds``, and call what is to be called."""
        for key, events in self._selector.select(seconds):
            key.data(events)
        calls = self._calls
        while calls:
            function, argument = calls.popleft()
            function(argument)

    def close(self) -> None:
        """Let its own descriptors go. The connections are their owners', and no thread may poll or call any more."""
        self._selector.close()
        self._woken_end.close()
        self._waking_end.close()

    def _take_wakes(self, _events: int) -> None:
        self._woken_end.recv(WAKE_BYTES)
        self._woken = False
