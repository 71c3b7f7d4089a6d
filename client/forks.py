"""A process that forks has two that think the session and the sockets are theirs. They are the parent's.

Two processes that write on one connection make a mess of it, and a child that closes what it has inherited can take the
parent's event loop along (both share one epoll). So the child's copies of clients are made unusable in the
moment of the fork, and say why; nothing has to be looked at in each call.
"""

import os
from typing import Final, Protocol
from weakref import WeakSet

from coord.api.errors import InvalidRequest

FORKED: Final = (
    "this client belongs to the process that this one was forked from: connect again in the child, "
    "or have the child started by 'spawn'"
)


class Owner(Protocol):
    """Of what only one process may have."""

    def disown(self, why: InvalidRequest) -> None:
        """In a forked child: be of no use from now on, and touch nothing. May be called in any thread."""


_owners: Final[WeakSet[Owner]] = WeakSet()


def own(owner: Owner) -> None:
    """Have ``owner`` disown itself in every child that is forked while it lives."""
    _owners.add(owner)


def _in_child() -> None:
    for owner in list(_owners):
        owner.disown(InvalidRequest(FORKED))
    _owners.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
