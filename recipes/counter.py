"""A number that many add to, and ids that are never given twice.

*What it guarantees.* Each :meth:`Counter.add` is applied exactly once, also over lost connections and a new leader,
and returns the number as it was right after it: so no two callers of ``add(1)`` are told the same. One request;
additions of 1 never hold each other up, however many there are at a time. :class:`Sequence`: no id is given twice,
by whichever process; those of one ``Sequence`` grow.

*What it does not.* An add whose deadline passes, or whose session ends, may have happened (``outcome`` is
``unknown``). Whole numbers only: no float, whose sums depend on their order. Ids have gaps (a block of a process
that ends is lost), and are not in the order of time among processes. A restore from a backup sets counters back, as
it does all of the tree.

*What to do about that.* For an add that may not have happened: look, if the number is yours alone; else make what
is counted a znode of its own (its existence is the count), or do the add and what it is about in one transaction.
After a restore, before anybody takes ids: ``Counter(client, path).set(...)`` far ahead. Amounts of money: count
cents.

::

    from coord.recipes.counter import Counter, Sequence

    hits = Counter(client, "/app/hits")
    print(await hits.add())  # → 1
    print(await hits.add(10), await hits.add(-1))  # → 11 10
    print(await hits.get(), await hits.compare_and_set(10, 0), await hits.get())  # → 10 True 0

    orders = Sequence(client, "/app/order-ids")
    print(await orders.next(), await orders.next())  # → 1 2
"""

import os
from math import inf
from typing import Final, NoReturn, cast

import anyio
from anyio.lowlevel import checkpoint

from coord.client import (
    Client,
    Create,
    DeadlineExceeded,
    Get,
    InvalidRequest,
    NotFound,
    Set,
    Written,
    Znode,
    when,
)
from coord.recipes.arguments import Deadline, checked_client, checked_path

FORKED: Final = (
    "this sequence came here by a fork, and its ids belong to the parent, who gives the same ones: connect again and "
    "make another one"
)
BITS_MAX: Final = 4096
"""Far below what Python refuses to write out in digits, so that no sum comes there."""

COPIED: Final = "a sequence cannot be copied or pickled: both would give the same ids. Make another one"


class Counter:
    """A whole number at ``path``: ``Counter(client, "/app/hits")``. It is ``initial`` where there is no znode.

    The znode holds a base, as decimal text; the number is the base plus the znode's *version*, which each set makes
    greater by one. So to add 1 is to set the same base again, on no condition but that it is still this base. (And
    to add n is to set a base of n - 1 more.) No other write may go there; delete the znode to begin anew.
    """

    def __init__(self, client: Client, path: str, *, initial: int = 0) -> None:
        self._client = checked_client(client)
        self._path = checked_path(path, "a counter")
        self._initial = _whole(initial, "an initial number")
        self._base = 0
        """As it was when last heard of: the best guess."""

    @property
    def path(self) -> str:
        return self._path

    async def get(self, *, deadline: float | None = None) -> int:
        """The number now (the read is linearizable)."""
        try:
            return self._number(await self._client.get(self._path, deadline=deadline))
        except NotFound:
            return self._initial

    async def add(self, amount: int = 1, *, deadline: float | None = None) -> int:
        """Add ``amount``, which may be negative; returns the number right after that.

        One request; a second one after somebody added another amount than 1 since this counter last heard of it.
        """
        _whole(amount, "what is added")
        due = Deadline(self._client, deadline)
        while True:
            base = self._base
            try:
                result = await self._client.multi(
                    [when.value(self._path) == _text(base)],
                    then=[Set(self._path, _text(base + amount - 1))],
                    otherwise=[Get(self._path)],
                    deadline=due.left,
                )
            except NotFound:
                if await self._begin(self._initial + amount, due):
                    return self._initial + amount
                continue
            if result.succeeded:
                self._base = base + amount - 1
                return self._base + cast(Written, result.results[0]).version
            self._number(cast(Znode, result.results[0]))

    async def set(self, number: int, *, deadline: float | None = None) -> None:
        """Make it ``number``, whatever it was."""
        due = Deadline(self._client, deadline)
        while not await self._swap(None, _whole(number, "a counter's number"), due):
            pass  # somebody else's write came between

    async def compare_and_set(self, expected: int, number: int, *, deadline: float | None = None) -> bool:
        """Make it ``number`` if it is ``expected``; says whether it was."""
        _whole(expected, "what is expected")
        _whole(number, "a counter's number")
        due = Deadline(self._client, deadline)
        while True:
            swapped = await self._swap(expected, number, due)
            if swapped is not None:
                return swapped

    async def _swap(self, expected: int | None, number: int, due: Deadline) -> bool | None:
        """Whether it was done; ``None``: somebody else's write came between."""
        try:
            znode = await self._client.get(self._path, deadline=due.left)
        except NotFound:
            if expected not in (None, self._initial):
                return False
            return await self._begin(number, due) or None
        if expected not in (None, self._number(znode)):
            return False
        version = znode.stat.version
        result = await self._client.multi(
            [when.version(self._path) == version, when.value(self._path) == znode.value],
            then=[Set(self._path, _text(number - version - 1))],
            deadline=due.left,
        )
        return result.succeeded or None

    async def _begin(self, number: int, due: Deadline) -> bool:
        """Make the znode; says whether there was none yet."""
        result = await self._client.multi(
            [when.missing(self._path)],
            then=[Create(self._path, _text(number), parents=True)],
            deadline=due.left,
        )
        return result.succeeded

    def _number(self, znode: Znode) -> int:
        try:
            self._base = int(znode.value)
        except ValueError:
            raise InvalidRequest(
                f"the znode at {self._path!r:.80} is no counter: its value is {znode.value!r:.40}"
            ) from None
        return self._base + znode.stat.version


class Sequence:
    """Ids, each given once among all who use ``path``: ``Sequence(client, "/app/order-ids")``, from 1 on, growing.

    They are taken from the counter at ``path`` in blocks, so most cost nothing: one request for each ``block``.
    Which size each process has is its own matter. Tasks may share one.
    """

    def __init__(self, client: Client, path: str, *, block: int = 1_000) -> None:
        self._block = checked_block(block)
        self._counter = Counter(client, path)
        self._client = client
        self._left = iter(range(0))
        self._taking = anyio.Lock()
        self._process = os.getpid()

    async def next(self, *, deadline: float | None = None) -> int:
        """The next id. *Cancellation* at worst leaves a gap."""
        if os.getpid() != self._process:
            raise InvalidRequest(FORKED)
        await checkpoint()
        found = next(self._left, None)
        if found is not None:
            return found
        due = Deadline(self._client, deadline)
        with anyio.move_on_after(due.left):
            async with self._taking:
                found = next(self._left, None)  # the one before may have taken a block for all who wait
                if found is None:
                    # Adding 1 would never conflict; but then all blocks would have to be of one size, for ever.
                    last = await self._counter.add(self._block, deadline=inf)
                    self._left = iter(range(last - self._block + 1, last + 1))
                    found = next(self._left)
            return found
        raise DeadlineExceeded(
            f"no id of {self._counter.path} in time; at worst there is a gap", outcome="refused"
        )

    def __reduce__(self) -> NoReturn:
        raise InvalidRequest(COPIED)


def checked_block(block: int) -> int:
    if _whole(block, "a block") < 1:
        raise InvalidRequest(f"a block is of 1 id or more, not {block}")
    return block


def _whole(number: int, what: str) -> int:
    if isinstance(number, bool) or not isinstance(number, int):
        raise InvalidRequest(f"{what} is a whole number, not {number!r:.40}")
    if number.bit_length() > BITS_MAX:
        raise InvalidRequest(f"{what} has {BITS_MAX} bits at most, and not {number.bit_length()}")
    return number


def _text(number: int) -> bytes:
    return b"%d" % number
