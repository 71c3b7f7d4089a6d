"""A read/write lock: many readers together, or one writer alone; first come, first served.

*What it guarantees.* While a writer holds it nobody else does. Nobody is passed over for ever: a reader who comes
after a waiting writer waits behind it, and all readers at the head of the queue are let in together, in one step.
Otherwise as :mod:`coord.recipes.lock`, whose *What it does not* and *What to do about that* hold for writers: a
reader's grant has a token, too, but a resource has nothing to refuse a reader for.

*What it does not.* A reader can't become a writer: it leaves, and asks anew (two readers that waited for each other
to leave would wait for ever). Nor does a writer become a reader, without leaving. A task that enters one of the two
inside of the other, of the same object, is refused: it would wait for itself.

::

    from coord.recipes.rwlock import ReadWriteLock

    table = ReadWriteLock(client, "/locks/table")
    async with table.read:
        async with ReadWriteLock(client, "/locks/table").read:  # others read, too
            print(await table.write.try_acquire())  # → None
    async with table.write as grant:
        print(grant.held)  # → True
"""

from coord.client import Client, Grant
from coord.recipes.held import Entered
from coord.recipes.lock import Lock


class _Reading(Lock):
    _shared = True
    _what = "the read lock"


class _Writing(Lock):
    _what = "the write lock"


class ReadWriteLock:
    """``ReadWriteLock(client, "/locks/a")``; ``read`` and ``write`` are a :class:`~coord.recipes.lock.Lock` each."""

    def __init__(self, client: Client, path: str, *, label: bytes = b"") -> None:
        self.read: Lock = _Reading(client, path, label=label)
        """Held together with other readers."""
        self.write: Lock = _Writing(client, path, label=label)
        """Held alone."""
        # Who enters one is known to the other: a task that waits for its own other side would wait for ever.
        self.read._entered = self.write._entered = Entered[Grant](f"the read/write lock {path}")
