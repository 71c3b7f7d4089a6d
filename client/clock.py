"""The clock that sessions and deadlines are counted on: monotonic, and going on while the machine sleeps.

The members count a session's silence on their own machines, and those do not sleep along with this one. Event loops
count on a clock that stands still in a suspended machine (``CLOCK_MONOTONIC`` on Linux, under trio as under
asyncio), so a laptop that was closed for an hour, or a virtual machine that was suspended, would wake up
believing in a session that was over for fifty-nine minutes. A process that is stopped (SIGSTOP) is no problem
for either clock.

Linux counts sleep in ``CLOCK_BOOTTIME``, macOS in ``CLOCK_MONOTONIC``; elsewhere ``time.monotonic`` is the
best there is (on Windows it counts sleep, too). What no clock inside can see is a virtual machine that is
paused and whose clocks are paused with it: against that, only fencing helps.
"""

import sys
import time
from collections.abc import Callable
from functools import partial


def _choose() -> Callable[[], float]:
    names = {"linux": "CLOCK_BOOTTIME", "darwin": "CLOCK_MONOTONIC"}
    clock: int | None = getattr(time, names.get(sys.platform, ""), None)
    return time.monotonic if clock is None else partial(time.clock_gettime, clock)


now: Callable[[], float] = _choose()
"""Seconds, from no point in particular."""
