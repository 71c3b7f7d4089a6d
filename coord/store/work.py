"""How much the store has done, so that whoever asks for much at a time can stop, let others go first, and go on.

Each request has a bound; thousands that arrive together have none but this. What is counted is what there may be much
of: znodes touched, names and claims looked at, rows answered. No clock: the same requests are the same work on each
run, in the simulator too. A unit is about a microsecond of a machine of 2025; nothing depends on how well that is met
but the length of a step.

Derived, and on no two replicas alike (one builds an index that another has built long ago), so nothing that a command
does may depend on it: only where a replica stops between two requests.
"""

from typing import Final

NO_END: Final = 1 << 62
"""More than there is ever to do: whoever stops there goes on to the end."""

REQUEST: Final = 5
"""Whatever it asks for: decoded, answered."""
ZNODE: Final = 5
"""Put into the tree, replaced, or taken away."""
CLAIM: Final = 5
"""Likewise."""
ROW: Final = 1
"""A name in a page of a list, and what it takes to send it."""
STAT_ROW: Final = 4
"""With the znode's value or stat."""
CHANGE: Final = 3
"""One of the past, or one that a watch is told."""
VALUE_BYTES: Final = 4096
"""So many of a value that is sent."""
SIGNATURE: Final = 60
SESSIONS_LOOKED_AT: Final = 8
"""So many of them, for a list."""


class Work:
    """A counter. Whoever counts from 0 sets it to 0: left alone, it would make each state a new one."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = 0
