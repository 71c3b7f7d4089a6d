"""An entry that is being applied, and how far it is.

An entry may hold thousands of requests, and take seconds. Between any two of them the store is whole but for this: at
a revision, with nothing begun. What comes at an entry's end (TTLs, delays that are over, a session's replies that are
too many) waits for it, on all replicas alike, wherever each of them stops on the way.
"""

from collections.abc import Sequence

from coord.api.commands import Command


class Underway:
    """``commands[command]`` is next, from its ``request`` on (or the session that it ends)."""

    __slots__ = ("command", "commands", "index", "read_bytes", "request")

    def __init__(self, index: int, commands: Sequence[Command]) -> None:
        self.index = index
        self.commands = commands
        self.command = 0
        self.request = 0
        self.read_bytes = 0
        """What the requests of this command have read so far: there is a bound for all of them together."""

    def next_command(self) -> None:
        self.command += 1
        self.request = self.read_bytes = 0
