"""A read/write lock: :mod:`coord.recipes.rwlock`, for plain threads.

*What it guarantees, what it does not, what to do about that*: as there; and of a thread's block that loses its
lock, as in :mod:`coord.recipes.blocking.lock`.

::

    from coord.client.blocking import connect
    from coord.recipes.blocking.rwlock import ReadWriteLock

    with connect() as client:
        table = ReadWriteLock(client, "/locks/table")
        with table.read:
            with ReadWriteLock(client, "/locks/table").read:  # others read, too
                print(table.write.try_acquire())  # → None
        with table.write as grant:
            print(grant.held)  # → True
"""

from coord.client.blocking import Client
from coord.recipes.blocking.held import Entered, HeldGrant
from coord.recipes.blocking.lock import Lock
from coord.recipes.rwlock import _Reading as _AsyncReading
from coord.recipes.rwlock import _Writing as _AsyncWriting


class _Reading(Lock):
    _within = _AsyncReading


class _Writing(Lock):
    _within = _AsyncWriting


class ReadWriteLock:
    """``ReadWriteLock(client, "/locks/a")``; ``read`` and ``write`` are a
    :class:`~coord.recipes.blocking.lock.Lock` each.
    """

    def __init__(self, client: Client, path: str, *, label: bytes = b"") -> None:
        self.read: Lock = _Reading(client, path, label=label)
        """Held together with other readers."""
        self.write: Lock = _Writing(client, path, label=label)
        """Held alone."""
        self.read._entered = self.write._entered = Entered[HeldGrant](f"the read/write lock {path}")
