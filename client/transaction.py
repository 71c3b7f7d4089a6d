"""Optimistic transactions: read, compute, write; committed only if nothing that was read has changed."""

import inspect
import logging
from collections.abc import Awaitable, Callable, Sequence
from random import Random
from types import TracebackType
from typing import Final, Self, TypeVar, cast

import anyio
from anyio.lowlevel import checkpoint

from coord.api.errors import Conflict, CoordError, DeadlineExceeded, InvalidRequest, NotFound, SessionRequired
from coord.api.ops import Delete, Exists, Kind, Multi, Set, TreeOp
from coord.api.paths import shown
from coord.api.results import MultiResult, Result, Stat
from coord.client.calls import Calls
from coord.client.core.arguments import create_op
from coord.client.core.namespace import check_text
from coord.client.core.overlay import Seen, WriteOp, as_read, in_doubt, names_after, znode_after
from coord.client.core.readset import NEVER, Read, ReadSet, listing_read, what_changed, znode_read
from coord.client.core.request import encode_op
from coord.client.kept import TRANSACTION, KeptHere

log = logging.getLogger("coord.client")

ASKED_WHAT_CHANGED: Final = 64
"""Of the things that were read: after a conflict, so many are looked at, to name the one that has changed."""
PAUSE_FIRST_SECONDS: Final = 0.002
PAUSE_MAX_SECONDS: Final = 1.0

T = TypeVar("T")


class Transaction(KeptHere):
    """One try of a transaction: ``async with client.transaction() as t: …``

    What is read is remembered, and read once; what is written is kept, and shown to later reads of the same
    transaction. The end of the block commits: if something that was read has changed (a znode that was not there and
    is now, a listing that has got another name) nothing is written, and :class:`~coord.api.errors.Conflict` (refused)
    is raised. Else all of it is written, at one revision. So transactions behave as if there were one at a time;
    also those that read what the other writes, and write what the other reads.

    Reads never show a mixture of states that the tree has not had: where that would be, they raise the ``Conflict``
    themselves. A block that raises writes nothing. Safe to use from several tasks of the block.
    """

    _instead = TRANSACTION

    def __init__(self, calls: Calls, ends_at: float) -> None:
        if not calls._core.settings.session:
            # Also for reads alone: what they cost depends on what others do, and should not be found out in production.
            raise SessionRequired(
                "a transaction may have to compare by a write; this client was opened without a session"
            )
        self._calls = calls
        self._ends_at = ends_at
        self._reads = ReadSet()
        self._writes: list[WriteOp] = []
        self._confirming = anyio.Lock()
        self._over = False
        self._changed: dict[str, object] = {}
        self.stale = False
        """Something that was read has changed: this try is in vain."""
        self.results: tuple[Result, ...] = ()
        """After the commit: one for each write, in their order. Here is the path of a sequential create."""
        self.revision = 0
        """After the commit: the revision of its writes; 0 if there were none."""

    # --- reads ---

    async def get(self, path: str) -> Seen:
        """Read a znode. Raises :class:`~coord.api.errors.NotFound` (refused)."""
        seen = await self._znode(path)
        if seen is None:
            raise NotFound(f"there is no znode {shown(path)}", {"path": path})
        return seen

    async def exists(self, path: str) -> bool:
        """Whether there is such a znode. If there is, it counts as read, with its value."""
        return await self._znode(path) is not None

    async def children(self, path: str) -> list[str]:
        """Read the names of its children, in order; their values are :meth:`get`'s. Raises
        :class:`~coord.api.errors.NotFound` (refused).
        """
        check_text(path)
        for each in in_doubt(path, self._writes):
            await self._znode(each)  # raises for a container
        read = self._reads.listing(path)
        if read is None:
            read = await self._list(path)
        else:
            await self._known()
        names = names_after(None if read.missing else read.names, path, self._writes)
        if names is None:
            raise NotFound(f"there is no znode {shown(path)}", {"path": path})
        return names

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
        self._keep(create_op(path, value, kind, ephemeral, ttl, sequential, parents))

    def set(self, path: str, value: bytes, *, create: bool = False, parents: bool = False) -> None:
        """As :meth:`coord.client.Client.set`, on no condition: what was read is one. That there is no such znode is an
        error of the commit.
        """
        self._keep(Set(path, value, None, None, bool(create), bool(parents)))

    def delete(self, path: str, *, subtree: bool = False) -> None:
        """As :meth:`coord.client.Client.delete`. That there is no such znode is an error of the commit."""
        self._keep(Delete(path, None, None, bool(subtree)))

    # --- the end ---

    async def commit(self) -> None:
        """Write, if nothing that was read has changed; the end of the block does it. Nothing can be done with the
        transaction after that.

        Raises :class:`~coord.api.errors.Conflict` (refused) if something has; the error of a write that is refused (and
        so all of them are); and :class:`~coord.api.errors.DeadlineExceeded` (unknown) where it is not known.
        """
        self._check_open()
        self._over = True
        if not self._writes:
            await self._confirm()  # they have been, unless a read was cancelled half-way
            return
        result = await self._multi(self._reads.all(), self._writes)
        self.results, self.revision = result.results, result.revision

    async def __aenter__(self) -> Self:
        self._check_open()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc is None and not self._over:
            await self.commit()
        self._over = True

    # --- inside ---

    def _seconds(self) -> float:
        return max(self._calls._link.left(self._ends_at), 0.0)

    def _check_open(self) -> None:
        if self._over:
            raise InvalidRequest("this transaction is over; begin another one")
        self._check_fresh()

    def _check_fresh(self) -> None:
        if self.stale:
            raise Conflict("something that this transaction had read has changed", self._changed)

    def _keep(self, op: WriteOp) -> None:
        self._check_open()
        encode_op(op.row())  # what cannot be is said here, and not at the commit
        self._writes.append(op)

    async def _znode(self, path: str) -> Seen | None:
        """The znode at ``path``, with this transaction's writes."""
        check_text(path)
        read = self._reads.znode(path)
        if read is None:
            self._check_open()
            found = await self._calls._look(path, self._seconds())
            read = self._reads.add(znode_read(path, found.znode, found.revision))
            await self._confirm()
        else:
            await self._known()
        seen = None if read.znode is None else as_read(read.znode)
        return znode_after(seen, path, self._writes, self._calls._core.session)

    async def _list(self, path: str) -> Read:
        """All names below ``path``, page by page."""
        self._check_open()
        names: list[str] = []
        first, more, after = NEVER, True, None
        while more:
            page, revision = await self._calls._look_below(path, after, self._seconds())
            first = min(first, revision)
            if page is None:
                break
            names += [child.name for child in page.children]
            more, after = page.more, names[-1] if names else None
        if page is not None:
            read = self._reads.add(listing_read(path, names, first, revision))
        else:
            read = self._reads.add(znode_read(path, None, revision))
            if not read.missing:
                raise self._conflict(f"{shown(path)} has been deleted", path)
        await self._confirm()
        return read

    async def _known(self) -> None:
        """What was read before is shown again, once what was read with it is known to fit."""
        self._check_open()
        await checkpoint()
        await self._confirm()

    async def _confirm(self) -> None:
        """Return once everything that was read is of one moment; see ``readset.py``."""
        if self._reads.at_one_moment():
            return
        async with self._confirming:
            self._check_fresh()  # many may have waited here
            if self._reads.at_one_moment():
                return
            reads = self._reads.all()
            try:
                result = await self._multi(reads, ())
            except CoordError as error:
                error.outcome = "refused"  # whatever became of it, it writes nothing
                raise
            self._reads.confirmed(reads, result.revision)

    async def _multi(self, reads: Sequence[Read], writes: Sequence[TreeOp]) -> MultiResult:
        """Do ``writes`` if ``reads`` still hold, or raise the conflict."""
        asked = tuple(Exists(read.path) for read in reads[:ASKED_WHAT_CHANGED])
        row = Multi(tuple(read.compare for read in reads), tuple(writes), asked).row()
        result = cast(MultiResult, await self._calls._write(row, self._seconds()))
        if not result.succeeded:
            what, path = what_changed(reads, cast("tuple[Stat | None, ...]", result.results))
            raise self._conflict(f"{what} changed after this transaction had read it", path)
        return result

    def _conflict(self, message: str, path: str) -> Conflict:
        self.stale = True
        self._changed = {"path": path} if path else {}
        return Conflict(f"{message}; nothing was written", self._changed)


async def transact(
    calls: Calls, function: Callable[[Transaction], Awaitable[T]], seconds: float, dice: Random
) -> T:
    """See :meth:`coord.client.Client.transact`."""
    if not callable(function):
        raise InvalidRequest(f"transact takes an async function of a Transaction, not {function!r:.40}")
    ends_at = calls._link.deadline(seconds)
    tries = 0
    while True:
        transaction = Transaction(calls, ends_at)
        try:
            async with transaction:
                found: object = function(transaction)
                if not inspect.isawaitable(found):
                    raise InvalidRequest(
                        f"transact awaits what its function returns, and that was {found!r:.40}: write it with "
                        "'async def'; nothing was written"
                    )
                return cast(T, await found)
        except Exception as error:
            # Whatever the function made of a conflict, it may be another error by now, or one of several in a group.
            if not transaction.stale:
                raise
            tries += 1
            pause = pause_seconds(tries, dice)
            if pause >= calls._link.left(ends_at):
                raise too_many(tries, seconds) from error
            log.debug("a transaction begins anew, after %d conflicts", tries)
        await anyio.sleep(pause)


def pause_seconds(tries: int, dice: Random) -> float:
    """How long to wait after so many conflicts. Each time somebody else's transaction went through, so there is
    progress without any pause; it is to spare the work of those that would only meet again.
    """
    most = min(PAUSE_FIRST_SECONDS * 2.0 ** min(tries - 1, 30), PAUSE_MAX_SECONDS)
    return most * dice.random()


def too_many(tries: int, seconds: float) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"a transaction was not committed within its deadline of {seconds:g} s: tries that met a conflict: {tries}",
        outcome="refused",
    )
