"""What a transaction has read: whether it was all true at one moment, and what must hold for it still to be. Sans IO.

Each read is known to have been true from one revision of the store through another: a znode from its last change
through the reply that showed it. While all of these spans share a revision, what was read is a state that the tree
once had. A read that shares none with those before it may belong to another state. An example, where ``/a`` and
``/b`` are 100 together at all times:

1. T reads ``/a`` = 50, which was set at revision 7; the reply is of revision 10: true in [7, 10].
2. Somebody moves 50 from ``/a`` to ``/b``, at revision 11.
3. T reads ``/b`` = 100, true in [11, 11]. T holds 150, which never was, and may compute nonsense with it, raise, or
   never end; no check at the commit comes before that.

So before T is shown the second value, everything is compared once more, in one multi that writes nothing: ``/a`` has
changed, and T is told of the conflict instead. If nothing has, all of it is true at that multi's revision. It costs one
round of writing, only when somebody else wrote meanwhile. (This is how lazy snapshots work in transactional memory:
Riegel, Felber, Fetzer, 2006. etcd's STM shows such states to its users.)

What this gives: a transaction without writes needs no commit. And an error that its code raises is about a state
that the tree had while it ran.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from coord.api.ops import Compare, Operator, Target
from coord.api.paths import shown
from coord.api.results import Stat, Znode

NEVER: Final = 1 << 63
"""After every revision."""


class Read:
    """One thing that was read. Invariant: it was so from ``since`` through ``until``; a listing in pages that
    were read at different revisions has ``since > until`` until it has been compared.
    """

    __slots__ = ("compare", "names", "path", "since", "until", "znode")

    def __init__(self, path: str, compare: Compare, since: int, until: int) -> None:
        self.path = path
        self.compare = compare
        """Holds exactly while what was read is still so."""
        self.since = since
        self.until = until
        self.znode: Znode | None = None
        self.names: tuple[str, ...] = ()

    @property
    def missing(self) -> bool:
        """It was read that there is no such znode."""
        return self.compare.target is Target.EXISTS

    def confirmed(self, revision: int) -> None:
        """The comparison held at ``revision``.

        A znode, or a listing, has then been as it is all the time; what was not there may have come and gone.
        """
        self.until = max(self.until, revision)
        if self.missing:
            self.since = self.until

    def still_holds(self, stat: Stat | None) -> bool:
        """Whether the comparison holds for a znode with this stat."""
        if self.missing:
            return stat is None
        if stat is None:
            return False
        operand = self.compare.operand
        if self.compare.target is Target.MODIFIED_REVISION:
            return stat.modified_revision == operand
        return isinstance(operand, int) and stat.children_revision <= operand


def znode_read(path: str, znode: Znode | None, revision: int) -> Read:
    """The znode at ``path``, or none, as a reply of ``revision`` showed it.

    One that was deleted and created again has another modified revision: that of its create.
    """
    if znode is None:
        compare = Compare(Target.EXISTS, path, Operator.EQUAL, False)
        return Read(path, compare, revision, revision)
    modified = znode.stat.modified_revision
    read = Read(path, Compare(Target.MODIFIED_REVISION, path, Operator.EQUAL, modified), modified, revision)
    read.znode = znode
    return read


def listing_read(path: str, names: Iterable[str], first_revision: int, last_revision: int) -> Read:
    """The children's names, in pages from the one of ``first_revision`` through that of ``last_revision``.

    If no child came or went after the first page was read, every page is of the state that the first one showed.
    """
    compare = Compare(Target.CHILDREN_REVISION, path, Operator.LESS_OR_EQUAL, first_revision)
    read = Read(path, compare, last_revision, first_revision)
    read.names = tuple(names)
    return read


class ReadSet:
    """Everything one transaction has read, each thing once: what is read again is what was read first."""

    def __init__(self) -> None:
        self._znodes: dict[str, Read] = {}
        self._listings: dict[str, Read] = {}
        self._since = 0
        self._until = NEVER

    def znode(self, path: str) -> Read | None:
        return self._znodes.get(path)

    def listing(self, path: str) -> Read | None:
        """The children of ``path``, or that there is no such znode."""
        znode = self._znodes.get(path)
        return znode if znode is not None and znode.missing else self._listings.get(path)

    def add(self, read: Read) -> Read:
        """Returns the read that counts: two tasks may have asked for the same at the same time."""
        reads = self._listings if read.compare.target is Target.CHILDREN_REVISION else self._znodes
        first = reads.setdefault(read.path, read)
        if first is read:
            self._span((read,))
        return first

    def at_one_moment(self) -> bool:
        """All of it is known to have been so at one revision."""
        return self._since <= self._until

    def all(self) -> list[Read]:
        return [*self._znodes.values(), *self._listings.values()]

    def confirmed(self, reads: Iterable[Read], revision: int) -> None:
        """The comparisons of ``reads`` have held at ``revision``."""
        for read in reads:
            read.confirmed(revision)
        self._since, self._until = 0, NEVER
        self._span(self.all())

    def _span(self, reads: Iterable[Read]) -> None:
        for read in reads:
            self._since = max(self._since, read.since)
            self._until = min(self._until, read.until)


def what_changed(reads: Sequence[Read], stats: Sequence[Stat | None]) -> tuple[str, str]:
    """What of ``reads`` holds no more, for people, and its path; ``stats`` are of the first of them."""
    for read, stat in zip(reads, stats, strict=False):
        if not read.still_holds(stat):
            what = "the children of " if read.compare.target is Target.CHILDREN_REVISION else ""
            return f"{what}{shown(read.path)}", read.path
    return "something", ""
