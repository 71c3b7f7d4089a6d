"""The client, as its user holds it. Seconds, as floats, at this face; below it names say ``_ms`` where it is those."""

from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from typing import Any, Final, TypeAlias, TypeVar, cast

import anyio

from coord.api.commands import Reply
from coord.api.errors import CoordError, InvalidRequest, ProtocolError
from coord.api.ops import (
    LOG,
    SESSIONS,
    STATUS,
    Compare,
    Create,
    Delete,
    Exists,
    Get,
    Kind,
    List,
    Multi,
    ReadMode,
    Row,
    Set,
    TreeOp,
)
from coord.api.results import Created, Deleted, MultiResult, Page, Result, Stat, Written, Znode
from coord.client.core import State
from coord.client.link import Link
from coord.client.request import Request
from coord.client.results import LogPage, SessionPage, log_page, session_page
from coord.client.watch import Scope, Watch

PAGE: Final = 1_000
SECONDS_MAX: Final = 10 * 365 * 24 * 3_600.0

Names: TypeAlias = list[str]
T = TypeVar("T")


class Client:
    """One session, its requests and its watches. Made by :func:`coord.client.connect`; safe to share among tasks.

    Calls made at the same time share frames and round trips, so many tasks on one client are the way to be fast.
    Every call takes ``deadline``, in seconds (``None``: the client's own default; ``inf``: none). Past it
    :class:`~coord.api.errors.DeadlineExceeded` is raised: ``refused`` for a read, and for a write that was not sent
    yet, else ``unknown``. A lost connection is not an error: the session moves to another member, and
    writes that were on their way are sent again and applied once. When the session itself is over, every call
    raises :class:`~coord.api.errors.SessionEnded`.

    *Cancellation* of a call leaves nothing behind in the client; a write that was sent may still happen.
    """

    def __init__(self, link: Link, deadline: float) -> None:
        self._link = link
        self._core = link.core
        self._deadline = deadline

    # --- facts ---

    @property
    def state(self) -> State:
        """Where the client stands now."""
        return self._core.state

    @property
    def session_id(self) -> int:
        """0 without a session."""
        return self._core.session

    @property
    def session_timeout(self) -> float:
        """Seconds, as granted."""
        return self._core.session_timeout

    @property
    def member(self) -> int:
        """The member this client is connected to; 0 while it is not."""
        return self._core.member

    @property
    def revision(self) -> int:
        """The greatest that any answer or event has shown. Hand it to another process for its ``at_least``."""
        return self._core.revision

    async def wait_ended(self) -> CoordError:
        """Wait until the client is over; returns why: :class:`~coord.api.errors.SessionEnded`, most likely."""
        return await self._link.ended()

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
        kind, ttl_ms = _kind(kind, ephemeral, ttl)
        op = Create(path, value, kind, bool(sequential), bool(parents), ttl_ms)
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
        op = Set(path, value, version, revision, bool(create), bool(parents))
        return cast(Written, await self._write(op.row(), deadline))

    async def delete(
        self,
        path: str,
        *,
        version: int | None = None,
        revision: int | None = None,
        subtree: bool = False,
        deadline: float | None = None,
    ) -> Deleted:
        """Delete a znode, or with ``subtree`` everything below it too, under the same conditions as :meth:`set`."""
        op = Delete(path, version, revision, bool(subtree))
        return cast(Deleted, await self._write(op.row(), deadline))

    async def multi(
        self,
        compare: Iterable[Compare] = (),
        then: Iterable[TreeOp] = (),
        otherwise: Iterable[TreeOp] = (),
        *,
        deadline: float | None = None,
    ) -> MultiResult:
        """If all of ``compare`` holds do ``then``, else ``otherwise``: all ops of the branch or none, at one revision.

        An op that is refused refuses the whole, with its error; ``details["position"]`` says which.
        """
        try:
            row = Multi(tuple(compare), tuple(then), tuple(otherwise)).row()
        except (AttributeError, TypeError, ValueError) as error:
            raise InvalidRequest(f"a multi takes comparisons, then ops, then ops: {error}") from error
        return cast(MultiResult, await self._write(row, deadline))

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
        op = Get(path, version, revision)
        return cast(Znode, await self._read(op.row(), at_least, local, deadline))

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
        ends_at = anyio.current_time() + self._seconds(deadline)
        names: Names = []
        more, after = True, None
        while more:
            op = List(path, after=after)
            page = cast(Page, await self._read(op.row(), at_least, local, ends_at - anyio.current_time()))
            names += [child.name for child in page.children]
            more, after = page.more, names[-1] if names else None
        return names

    def watch(
        self,
        path: str,
        scope: Scope = "znode",
        from_revision: int | None = None,
        *,
        deadline: float | None = None,
    ) -> Watch:
        """Changes of a znode, of its direct children, or of it and everything below; see :class:`Watch`.

        From ``from_revision`` on, or from now. To go on from what was read: ``page.revision + 1``.
        """
        return Watch(self._link, path, scope, from_revision, self._seconds(deadline))

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
        return _typed(log_page, row[4], row[2], path)

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
        return _typed(session_page, row[4], row[2])

    async def status(self, *, deadline: float | None = None) -> Mapping[str, Any]:
        """How the member that this client is connected to sees itself and the cluster; needs no quorum."""
        row = await self._read_row([STATUS], None, True, deadline)
        return cast("Mapping[str, Any]", row[4])

    # --- inside ---

    def _seconds(self, deadline: float | None) -> float:
        return self._deadline if deadline is None else deadline

    async def _write(self, op: Row, deadline: float | None) -> Result:
        ends_at = anyio.current_time() + self._seconds(deadline)
        request = self._core.write(op, ends_at, anyio.Event())
        await self._link.finished(request)
        return _typed(Request.result, request)

    async def _read(self, op: Row, at_least: int | None, local: bool, deadline: float | None) -> Result:
        request = await self._asked(op, at_least, local, deadline)
        return _typed(Request.result, request)

    async def _read_row(self, op: Row, at_least: int | None, local: bool, deadline: float | None) -> Reply:
        request = await self._asked(op, at_least, local, deadline)
        return request.row()

    async def _asked(self, op: Row, at_least: int | None, local: bool, deadline: float | None) -> Request:
        mode = ReadMode.LOCAL if local else ReadMode.LINEARIZABLE
        if at_least is not None:
            if local:
                raise InvalidRequest("a read is either local or at_least some revision")
            mode = ReadMode.AT_LEAST
        ends_at = anyio.current_time() + self._seconds(deadline)
        request = self._core.read(op, mode, at_least or 0, ends_at, anyio.Event())
        await self._link.finished(request)
        return request


def _kind(kind: Kind, ephemeral: bool, ttl: float | None) -> tuple[Kind, int]:
    wanted = [kind] if kind != Kind.PERSISTENT else []
    wanted += [Kind.EPHEMERAL] if ephemeral else []
    wanted += [Kind.TTL] if ttl is not None else []
    if len(dict.fromkeys(wanted)) > 1:
        raise InvalidRequest(
            f"a znode is of one kind, not {' and '.join(Kind(each).name for each in wanted)}"
        )
    ttl_ms = 0 if ttl is None else max(milliseconds(ttl, "a ttl"), 1)
    return wanted[0] if wanted else Kind.PERSISTENT, ttl_ms


def milliseconds(seconds: float, what: str) -> int:
    """Seconds at the user's face, whole milliseconds below it. Raises :class:`InvalidRequest` (refused)."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise InvalidRequest(f"{what} is a number of seconds, not {seconds!r:.40}")
    if not (isfinite(seconds) and 0 < seconds <= SECONDS_MAX):
        raise InvalidRequest(
            f"{what} is a number of seconds above 0, at most {SECONDS_MAX:g}; not {seconds!r:.40}"
        )
    return round(seconds * 1000)


def _typed(make: Callable[..., T], *arguments: Any) -> T:
    """What a member answered, as typed values."""
    try:
        return make(*arguments)
    except (TypeError, ValueError, LookupError) as error:
        raise ProtocolError(f"an answer that this client does not understand: {error}") from error
