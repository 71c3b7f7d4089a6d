"""Optimistic transactions, as plain threads have them. What they are is in :mod:`coord.client.transaction`."""

import inspect
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from types import TracebackType
from typing import Final, Self, TypeVar

import anyio

from coord.api.errors import InvalidRequest
from coord.api.ops import Kind
from coord.api.results import Result
from coord.client.blocking.loop import Loop
from coord.client.client import Client as AsyncClient
from coord.client.core.overlay import Seen
from coord.client.kept import TRANSACTION, KeptHere
from coord.client.transaction import Transaction as AsyncTransaction
from coord.client.transaction import pause_seconds, too_many

log = logging.getLogger("coord.client")

T = TypeVar("T")

AWAITED: Final = (
    "nothing is awaited here: transact takes a plain function of a Transaction, not one that returns "
    "a coroutine"
)


class Transaction(KeptHere):
    """One try of a transaction: ``with client.transaction() as t: …``

    What is read is remembered, and read once; what is written is kept, and shown to later reads of the same
    transaction. The end of the block commits: if something that was read has changed (a znode that was not there and
    is now, a listing that has got another name) nothing is written, and :class:`~coord.api.errors.Conflict` (refused)
    is raised. Else all of it is written, at one revision. So transactions behave as if there were one at a time;
    also those that read what the other writes, and write what the other reads.

    Reads never show a mixture of states that the tree has not had: where that would be, they raise the ``Conflict``
    themselves. A block that raises writes nothing. Safe to use from several threads.
    """

    _instead = TRANSACTION

    def __init__(self, owner: object, loop: Loop, transaction: AsyncTransaction) -> None:
        self._owner = owner  # see Client
        self._loop = loop
        self._transaction = transaction

    @property
    def stale(self) -> bool:
        """Something that was read has changed: this try is in vain."""
        return self._transaction.stale

    @property
    def results(self) -> tuple[Result, ...]:
        """After the commit: one for each write, in their order. Here is the path of a sequential create."""
        return self._transaction.results

    @property
    def revision(self) -> int:
        """After the commit: the revision of its writes; 0 if there were none."""
        return self._transaction.revision

    # --- reads ---

    def get(self, path: str) -> Seen:
        """Read a znode. Raises :class:`~coord.api.errors.NotFound` (refused)."""
        return self._run(partial(self._transaction.get, path))

    def exists(self, path: str) -> bool:
        """Whether there is such a znode. If there is, it counts as read, with its value."""
        return self._run(partial(self._transaction.exists, path))

    def children(self, path: str) -> list[str]:
        """Read the names of its children, in order; their values are :meth:`get`'s. Raises
        :class:`~coord.api.errors.NotFound` (refused).
        """
        return self._run(partial(self._transaction.children, path))

    # --- writes: kept until the commit ---

    def create(
        self,
        path: str,
        value: bytes = b"",
        *,
        kind: Kind = Kind.PERSISTENT,
        ephemeral: bool = False,
        ttl: float | None = None,
        sequential: bool = False,
        parents: bool = False,
    ) -> None:
        """As :meth:`coord.client.Client.create`. That it exists already is an error of the commit."""
        self._transaction.create(
            path, value, kind=kind, ephemeral=ephemeral, ttl=ttl, sequential=sequential, parents=parents
        )

    def set(self, path: str, value: bytes, *, create: bool = False, parents: bool = False) -> None:
        """As :meth:`coord.client.Client.set`, on no condition: what was read is one. That there is no such znode is an
        error of the commit.
        """
        self._transaction.set(path, value, create=create, parents=parents)

    def delete(self, path: str, *, subtree: bool = False) -> None:
        """As :meth:`coord.client.Client.delete`. That there is no such znode is an error of the commit."""
        self._transaction.delete(path, subtree=subtree)

    # --- the end ---

    def commit(self) -> None:
        """Write, if nothing that was read has changed; the end of the block does it. Nothing can be done with the
        transaction after that.

        Raises :class:`~coord.api.errors.Conflict` (refused) if something has; the error of a write that is refused (and
        so all of them are); and :class:`~coord.api.errors.DeadlineExceeded` (unknown) where it is not known.
        """
        self._run(self._transaction.commit, True)

    def __enter__(self) -> Self:
        self._run(self._transaction.__aenter__)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc is None:
            self._run(partial(self._transaction.__aexit__, None, None, None), True)
        else:
            self._transaction._over = True

    # --- inside ---

    def _run(self, work: Callable[[], Awaitable[T]], effect: bool = False) -> T:
        return self._loop.run(work, self._transaction._seconds(), effect)


def transact(
    owner: object, loop: Loop, client: AsyncClient, function: Callable[[Transaction], T], seconds: float
) -> T:
    """See :meth:`coord.client.blocking.Client.transact`; and :func:`coord.client.transaction.transact`, which this is,
    but for ``function`` being called in the caller's own thread.
    """
    if not callable(function):
        raise InvalidRequest(f"transact takes a function of a Transaction, not {function!r:.40}")
    if inspect.iscoroutinefunction(function):
        raise InvalidRequest(AWAITED)
    ends_at = loop.look(partial(client._link.deadline, seconds))
    tries = 0
    while True:
        inner = loop.look(partial(AsyncTransaction, client, ends_at))
        try:
            with Transaction(owner, loop, inner) as transaction:
                found = function(transaction)
                if inspect.iscoroutine(found):  # of a lambda, or a partial
                    found.close()
                    raise InvalidRequest(f"{AWAITED}; nothing was written")
                return found
        except Exception as error:
            if not inner.stale:
                raise
            tries += 1
            pause = pause_seconds(tries, client._dice)
            if pause >= client._link.left(ends_at):
                raise too_many(tries, seconds) from error
            log.debug("a transaction begins anew, after %d conflicts", tries)
        loop.run(partial(anyio.sleep, pause), client._link.left(ends_at))
