"""The client, as plain threads hold it. Each method is that of :class:`coord.client.Client` without ``await``, and a
test compares them.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeAlias, TypeVar, cast

from coord.api.errors import InvalidRequest
from coord.api.ops import BranchOp, Compare, Delete, Exists, Get, Kind, List, Multi, Set
from coord.api.paths import ROOT
from coord.api.results import Created, Deleted, MultiResult, Page, Stat, Written, Znode
from coord.api.tokens import Token
from coord.client.blocking.builder import Conditions
from coord.client.blocking.cache import Cache
from coord.client.blocking.claiming import Claiming
from coord.client.blocking.grant import Grant
from coord.client.blocking.standing import Standing
from coord.client.blocking.transaction import Transaction, transact
from coord.client.blocking.watch import Watch
from coord.client.core.arguments import PAGE, create_op
from coord.client.core.mirror import ZNODES_MAX
from coord.client.core.results import LogPage, SessionPage
from coord.client.watch import OnGap, Scope

Names: TypeAlias = list[str]
T = TypeVar("T")


class Client(Claiming, Standing):
    """One session, its requests and its watches. Made by :func:`coord.client.blocking.connect`; safe to share among
    threads.

    Calls made at the same time share frames and round trips, so many threads on one client are the way to be fast.
    Every call takes ``deadline``, in seconds (``None``: the client's own default; ``inf``: none). Past it
    :class:`~coord.api.errors.DeadlineExceeded` is raised: ``refused`` for a read, and for a write that was not sent
    yet, else ``unknown``. A lost connection is not an error: the session moves to another member, and
    writes that were on their way are sent again and applied once. When the session itself is over, every call
    raises :class:`~coord.api.errors.SessionEnded`.

    *Ctrl-C* in a call that waits leaves nothing behind in the client; a write that was sent may still happen. A process
    that is forked has to connect again: its parent's client refuses to be used there.
    """

    def close(self) -> None:
        """End the session, whose ephemerals go at once, and the client's thread. What other threads wait for ends with
        an error, their loops over states end. May be called again. Views of the client are closed with it.
        """
        self._loop.close()

    # --- facts ---

    @property
    def revision(self) -> int:
        """The greatest that any answer or event has shown, or that the client was told to :meth:`see`. As decimal text
        it can be handed to another process, for it to see what this one saw.
        """
        return self._client.revision

    def see(self, revision: int | str) -> None:
        """See what another process saw: no read of this client (nor of its namespaces) is older from now on.

        ``revision`` is what the other's ``client.revision`` was, as a number or in decimal text. It is for reads
        with ``at_least`` and ``local``; linearizable ones see it in any case. Raises
        :class:`~coord.api.errors.InvalidRequest` (refused) for what is none.
        """
        self._loop.look(
            partial(self._client.see, revision)
        )  # two threads at the same time could lose the greater one

    @property
    def root(self) -> str:
        """Where this client's ``/`` is in the whole tree; see :meth:`namespace`."""
        return self._client.root

    def namespace(self, path: str) -> "Client":
        """A view of this client in which ``path`` is ``/``: for a program that shares a tree with others.

        It costs nothing to make, and shares the session, the connection and the state of this one. All paths are from
        inside: those of calls, results and events, of the log, and in the ``details`` of errors (their messages are
        for people, and have whole paths). ``path`` need not exist: ``create("/a", parents=True)`` in the view makes
        it. Views can be made of views. What :meth:`sessions` and :meth:`status` tell is about the whole service. A
        namespace is a convenience, not a wall: whoever has a client can also make one without.
        """
        return Client(self._owner, self._loop, self._client.namespace(path))

    def fenced(self, *grants: Grant | Token) -> "Client":
        """A view of this client that presents these tokens with each of its writes: below a fence whose claim is held
        with one of them they are done, and refused with :class:`~coord.api.errors.StaleToken` once it is not.
        """
        tokens = [each.token if isinstance(each, Grant) else each for each in grants]
        return Client(self._owner, self._loop, self._client.fenced(*tokens))

    # --- writes ---

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
        deadline: float | None = None,
    ) -> Created:
        """Create a znode; ``Created.path`` has its sequence number, if ``sequential`` asked for one.

        ``ephemeral`` is short for ``kind=Kind.EPHEMERAL`` (it goes with this session), and ``ttl``, in seconds, for a
        ``Kind.TTL`` (it goes when it was not set, and had no children, for so long). ``parents`` creates what is
        missing above it.
        """
        op = create_op(path, value, kind, ephemeral, ttl, sequential, parents)
        return cast(Created, self._write(op.row(), deadline))

    def set(
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
        op = Set(path, value, version, revision, bool(create), bool(parents))
        return cast(Written, self._write(op.row(), deadline))

    def delete(
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
        return cast(Deleted, self._write(op.row(), deadline))

    def multi(
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
        return cast(MultiResult, self._write(row, deadline))

    def when(self, *conditions: Compare) -> Conditions:
        """A multi in steps, to be read aloud: ``client.when(when.missing("/a")).then.create("/a").commit()``.

        No condition: what is ``then`` is done in any case.
        """
        return Conditions(self.multi, conditions)

    def transaction(self, *, deadline: float | None = None) -> Transaction:
        """Read, compute, write, in one try: ``with client.transaction() as t: …``; see :class:`Transaction`.

        ``deadline`` is for all that it asks of the service. The end of the block raises
        :class:`~coord.api.errors.Conflict` (refused) if something that it read has changed; :meth:`transact` tries
        again.
        """
        make = partial(self._client.transaction, deadline=deadline)
        return Transaction(self._owner, self._loop, self._loop.look(make))

    def transact(self, function: Callable[[Transaction], T], *, deadline: float | None = None) -> T:
        """Call ``function(t)`` and commit, again after each conflict; returns what it returned in the end.

        As it may be called more than once it should do nothing but read and write through ``t``. What it raises, other
        than because of a conflict, is raised, and nothing is written: it was shown a state that the tree had. Between
        tries there is a pause, longer each time. ``deadline`` is for all tries together, and for what they ask of the
        service (the function itself is not interrupted): :class:`~coord.api.errors.DeadlineExceeded`, ``refused``
        unless a commit was under way.
        """
        return transact(self._owner, self._loop, self._client, function, self._client._seconds(deadline))

    # --- reads ---

    def get(
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
        op = Get(path, version, revision)
        return cast(Znode, self._read(op.row(), at_least, local, deadline))

    def exists(
        self, path: str, *, at_least: int | None = None, local: bool = False, deadline: float | None = None
    ) -> Stat | None:
        """Read the stat; ``None`` when there is no such znode."""
        return cast("Stat | None", self._read(Exists(path).row(), at_least, local, deadline))

    def list(
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
        return cast(Page, self._read(op.row(), at_least, local, deadline))

    def children(
        self, path: str, *, at_least: int | None = None, local: bool = False, deadline: float | None = None
    ) -> Names:
        """The names of all children, in order, page by page.

        Each page is read on its own: a child that is created or deleted meanwhile may be missed or told, the
        others are not. ``deadline`` is for the whole.
        """
        work = partial(self._client.children, path, at_least=at_least, local=local, deadline=deadline)
        return self._run(work, deadline)

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
        make = partial(
            self._client.watch, path, scope, from_revision, on_gap=on_gap, claims=claims, deadline=deadline
        )
        return Watch(self._owner, self._loop, make, self._client._seconds(deadline))

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
        make = partial(self._client.cache, path, values=values, limit=limit, deadline=deadline)
        return Cache(self._owner, self._loop, path, make, self._client._seconds(deadline))

    # --- the service itself ---

    def log(
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
        work = partial(
            self._client.log,
            path,
            from_revision=from_revision,
            limit=limit,
            at_least=at_least,
            local=local,
            deadline=deadline,
        )
        return self._run(work, deadline)

    def sessions(
        self,
        after: int | None = None,
        *,
        limit: int = PAGE,
        at_least: int | None = None,
        local: bool = False,
        deadline: float | None = None,
    ) -> SessionPage:
        """One page of the sessions there are, by id; the next one is ``after`` the last id here."""
        work = partial(
            self._client.sessions, after, limit=limit, at_least=at_least, local=local, deadline=deadline
        )
        return self._run(work, deadline)

    def status(self, *, deadline: float | None = None) -> Mapping[str, Any]:
        """How the member that this client is connected to sees itself and the cluster; needs no quorum."""
        return self._run(partial(self._client.status, deadline=deadline), deadline)
