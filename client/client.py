"""The client, as its user holds it. Seconds, as floats, at this face; below it names say ``_ms`` where it is those."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeAlias, TypeVar, cast

from coord.api.errors import InvalidRequest
from coord.api.ops import (
    GET,
    LOG,
    SESSIONS,
    SET,
    STATUS,
    BranchOp,
    Compare,
    Delete,
    Exists,
    Kind,
    List,
    Multi,
    ReadMode,
    SetFlag,
)
from coord.api.paths import ROOT
from coord.api.results import Created, Deleted, MultiResult, Page, Stat, Written, Znode
from coord.api.tokens import Token
from coord.client.builder import Conditions
from coord.client.cache import Cache
from coord.client.calls import typed
from coord.client.claiming import Claiming
from coord.client.core.arguments import PAGE, create_op
from coord.client.core.mirror import ZNODES_MAX
from coord.client.core.namespace import below
from coord.client.core.request import Request
from coord.client.core.results import LogPage, SessionPage, log_page, session_page
from coord.client.grant import Grant
from coord.client.standing import Standing
from coord.client.transaction import Transaction, transact
from coord.client.watch import OnGap, Scope, Watch

Names: TypeAlias = list[str]
T = TypeVar("T")


class Client(Claiming, Standing):
    """One session, its requests and its watches. Made by :func:`coord.client.connect`; safe to share among tasks.

    Calls made at the same time share frames and round trips, so many tasks on one client are the way to be fast.
    Every call takes ``deadline``, in seconds (``None``: the client's own default; ``inf``: none). Past it
    :class:`~coord.api.errors.DeadlineExceeded` is raised: ``refused`` for a read, and for a write that was not sent
    yet, else ``unknown``. A lost connection is not an error: the session moves to another member, and
    writes that were on their way are sent again and applied once. When the session itself is over, every call
    raises :class:`~coord.api.errors.SessionEnded`.

    *Cancellation* of a call leaves nothing behind in the client; a write that was sent may still happen.
    """

    # --- facts ---

    @property
    def revision(self) -> int:
        """The greatest that any answer or event has shown, or that the client was told to :meth:`see`. As decimal text
        it can be handed to another process, for it to see what this one saw.
        """
        return max(self._core.revision, self._floor.revision)

    def see(self, revision: int | str) -> None:
        """See what another process saw: no read of this client (nor of its namespaces) is older from now on.

        ``revision`` is what the other's ``client.revision`` was, as a number or in decimal text. It is for reads
        with ``at_least`` and ``local``; linearizable ones see it in any case. Raises
        :class:`~coord.api.errors.InvalidRequest` (refused) for what is none.
        """
        self._floor.see(revision)

    @property
    def root(self) -> str:
        """Where this client's ``/`` is in the whole tree; see :meth:`namespace`."""
        return ROOT if self._space is None else self._space.root

    def namespace(self, path: str) -> "Client":
        """A view of this client in which ``path`` is ``/``: for a program that shares a tree with others.

        It costs nothing to make, and shares the session, the connection and the state of this one. All paths are from
        inside: those of calls, results and events, of the log, and in the ``details`` of errors (their messages are
        for people, and have whole paths). ``path`` need not exist: ``create("/a", parents=True)`` in the view makes
        it. Views can be made of views. What :meth:`sessions` and :meth:`status` tell is about the whole service. A
        namespace is a convenience, not a wall: whoever has a client can also make one without.
        """
        return Client(
            self._link, self._deadline, below(self._space, path), self._floor, self._dice, self._tokens
        )

    def fenced(self, *grants: Grant | Token) -> "Client":
        """A view of this client that presents these tokens with each of its writes: below a fence whose claim is held
        with one of them they are done, and refused with :class:`~coord.api.errors.StaleToken` once it is not.
        """
        tokens = tuple([each.token if isinstance(each, Grant) else each for each in grants])
        if not all(isinstance(token, Token) for token in tokens):
            raise InvalidRequest("what is presented to a fence is a Grant or its Token")
        return Client(
            self._link, self._deadline, self._space, self._floor, self._dice, (*self._tokens, *tokens)
        )

    # --- writes ---

    async def create(
        self,
        path: str,
        value: bytes = b"",
        *,
        kind: Kind = Kind.PERSISTENT,
        ephemeral: bool = False,
        ttl: float | None = None,
        sequential: bool = False,
        parents: bool = False,
        deadline: float | None = None,
    ) -> Created:
        """Create a znode; ``Created.path`` has its sequence number, if ``sequential`` asked for one.

        ``ephemeral`` is short for ``kind=Kind.EPHEMERAL`` (it goes with this session), and ``ttl``, in seconds, for a
        ``Kind.TTL`` (it goes when it was not set, and had no children, for so long). ``parents`` creates what is
        missing above it.
        """
        op = create_op(path, value, kind, ephemeral, ttl, sequential, parents)
        return cast(Created, await self._write(op.row(), deadline))

    async def set(
        self,
        path: str,
        value: bytes,
        *,
        version: int | None = None,
        revision: int | None = None,
        create: bool = False,
        parents: bool = False,
        deadline: float | None = None,
    ) -> Written:
        """Set a znode's value, if it has that ``version`` and was last modified at that ``revision``, where given.

        ``create`` makes a persistent znode where there is none, and with ``parents`` what is missing above it.
        """
        flags = (SetFlag.CREATE if create else 0) | (SetFlag.PARENTS if parents else 0)
        return cast(Written, await self._write([SET, path, value, version, revision, flags], deadline))

    async def delete(
        self,
        path: str,
        *,
        version: int | None = None,
        revision: int | None = None,
        subtree: bool = False,
        missing_ok: bool = False,
        deadline: float | None = None,
    ) -> Deleted:
        """Delete a znode, or with ``subtree`` everything below it too, under the same conditions as :meth:`set`.

        With ``missing_ok`` one that is not there is no error, whatever the conditions: ``Deleted.count`` is 0 then.
        """
        op = Delete(path, version, revision, bool(subtree), bool(missing_ok))
        return cast(Deleted, await self._write(op.row(), deadline))

    async def multi(
        self,
        compare: Iterable[Compare] = (),
        then: Iterable[BranchOp] = (),
        otherwise: Iterable[BranchOp] = (),
        *,
        deadline: float | None = None,
    ) -> MultiResult:
        """If all of ``compare`` holds do ``then``, else ``otherwise``: all ops of the branch or none, at one revision.

        An op that is refused refuses the whole, with its error; ``details["position"]`` says which. A branch may hold a
        :class:`~coord.api.ops.Multi` in its turn: its comparisons see what was done before it.
        """
        try:
            row = Multi(tuple(compare), tuple(then), tuple(otherwise)).row()
        except (AttributeError, TypeError, ValueError) as error:
            raise InvalidRequest(f"a multi takes comparisons, then ops, then ops: {error}") from error
        return cast(MultiResult, await self._write(row, deadline))

    def when(self, *conditions: Compare) -> Conditions:
        """A multi in steps, to be read aloud: ``await client.when(when.missing("/a")).then.create("/a").commit()``.

        No condition: what is ``then`` is done in any case.
        """
        return Conditions(self.multi, conditions)

    def transaction(self, *, deadline: float | None = None) -> Transaction:
        """Read, compute, write, in one try: ``async with client.transaction() as t: …``; see :class:`Transaction`.

        ``deadline`` is for all that it asks of the service. The end of the block raises
        :class:`~coord.api.errors.Conflict` (refused) if something that it read has changed; :meth:`transact` tries
        again.
        """
        return Transaction(self, self._link.deadline(self._seconds(deadline)))

    async def transact(
        self, function: Callable[[Transaction], Awaitable[T]], *, deadline: float | None = None
    ) -> T:
        """Call ``await function(t)`` and commit, again after each conflict; returns what it returned in the end.

        As it may be called more than once it should do nothing but read and write through ``t``. What it raises, other
        than because of a conflict, is raised, and nothing is written: it was shown a state that the tree had. Between
        tries there is a pause, longer each time. ``deadline`` is for all tries together, and for what they ask of the
        service (the function itself is not interrupted): :class:`~coord.api.errors.DeadlineExceeded`, ``refused``
        unless a commit was under way.
        """
        return await transact(self, function, self._seconds(deadline), self._dice)

    # --- reads ---

    async def get(
        self,
        path: str,
        *,
        version: int | None = None,
        revision: int | None = None,
        at_least: int | None = None,
        local: bool = False,
        deadline: float | None = None,
    ) -> Znode:
        """Read value and stat; ``version`` and ``revision`` as conditions, a :class:`Conflict` when they do not hold.

        Every read is linearizable, unless it says otherwise: ``at_least`` is content with a state at or after that
        revision, at any member; ``local`` with whatever the member has, and needs no quorum.
        """
        return cast(Znode, await self._read([GET, path, version, revision], at_least, local, deadline))

    async def exists(
        self, path: str, *, at_least: int | None = None, local: bool = False, deadline: float | None = None
    ) -> Stat | None:
        """Read the stat; ``None`` when there is no such znode."""
        return cast("Stat | None", await self._read(Exists(path).row(), at_least, local, deadline))

    async def list(
        self,
        path: str,
        *,
        values: bool = False,
        stats: bool = False,
        limit: int = PAGE,
        after: str | None = None,
        at_least: int | None = None,
        local: bool = False,
        deadline: float | None = None,
    ) -> Page:
        """Read one page of children, in the order of their names; the next one is ``after`` the last name here."""
        op = List(path, bool(values), bool(stats), limit, after)
        return cast(Page, await self._read(op.row(), at_least, local, deadline))

    async def children(
        self, path: str, *, at_least: int | None = None, local: bool = False, deadline: float | None = None
    ) -> Names:
        """The names of all children, in order, page by page.

        Each page is read on its own: a child that is created or deleted meanwhile may be missed or told, the
        others are not. ``deadline`` is for the whole.
        """
        ends_at = self._link.deadline(self._seconds(deadline))
        names: Names = []
        more, after = True, None
        while more:
            op = List(path, after=after)
            page = cast(Page, await self._read(op.row(), at_least, local, self._link.left(ends_at)))
            names += [child.name for child in page.children]
            more, after = page.more, names[-1] if names else None
        return names

    def watch(
        self,
        path: str,
        scope: Scope = "znode",
        from_revision: int | None = None,
        *,
        on_gap: OnGap = "relist",
        claims: bool = False,
        deadline: float | None = None,
    ) -> Watch:
        """Changes of a znode, of its direct children, or of it and everything below; see :class:`Watch`.

        From ``from_revision`` on, or from now. To go on from what was read: ``page.revision + 1``. ``on_gap``: where
        the members' history no longer reaches back, ``"relist"`` tells the difference as events, and ``"raise"``
        raises :class:`~coord.api.errors.Gap`; so does either when it is opened from a revision that is gone.
        ``claims``: tell changes of claims there, too (with ``on_gap="raise"``).
        """
        seconds = self._seconds(deadline)
        return Watch(self._link, path, scope, from_revision, seconds, on_gap, self._space, claims)

    def cache(
        self,
        path: str = ROOT,
        *,
        values: bool = True,
        limit: int = ZNODES_MAX,
        deadline: float | None = None,
    ) -> Cache:
        """A copy of the znode at ``path`` and everything below it, in this process: read without a round trip,
        kept up by one watch; see :class:`Cache`.

        ``values=False`` keeps names and revisions only. ``limit``: znodes; beyond it is closed with
        :class:`~coord.api.errors.LimitExceeded`. ``deadline``: seconds, for reading it at first and, unless they say
        otherwise, for its waits.
        """
        return Cache(
            self._link, path, values=values, limit=limit, deadline=self._seconds(deadline), space=self._space
        )

    # --- the service itself ---

    async def log(
        self,
        path: str = "/",
        *,
        from_revision: int | None = None,
        limit: int = 100,
        at_least: int | None = None,
        local: bool = False,
        deadline: float | None = None,
    ) -> LogPage:
        """What changed at ``path`` and below, by whom and why: in the last ``limit`` revisions, or in as many from
        ``from_revision`` on.
        """
        row = await self._read_row([LOG, from_revision, limit], at_least, local, deadline)
        return typed(log_page, row[4], row[2], path, self._space)

    async def sessions(
        self,
        after: int | None = None,
        *,
        limit: int = PAGE,
        at_least: int | None = None,
        local: bool = False,
        deadline: float | None = None,
    ) -> SessionPage:
        """One page of the sessions there are, by id; the next one is ``after`` the last id here."""
        row = await self._read_row([SESSIONS, after, limit], at_least, local, deadline)
        return typed(session_page, row[4], row[2])

    async def status(self, *, deadline: float | None = None) -> Mapping[str, Any]:
        """How the member that this client is connected to sees itself and the cluster; needs no quorum."""
        row = await self._asked([STATUS], ReadMode.LOCAL, 0, deadline, Request.row)
        return cast("Mapping[str, Any]", row[4])
