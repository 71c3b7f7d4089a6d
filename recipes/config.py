"""Configuration: a typed value at a path, validated before it is published and before it is used, with its history.

*What it guarantees.* Nobody can publish a value that its own model refuses, and no application that reads through
this is ever given one that the application's model refuses: whatever is in the tree. :meth:`Config.publish` is one
step: the new value, its entry in the history, the end of the oldest; with ``version`` only if nobody else was
faster. Whoever follows (:meth:`Config.watch`) has the last good value at any time, without asking, and is told of
new ones.

*What it does not.* A value that was put there by other means (``coord set``, another program, another version of
the model) can be bad; then the last good one stays, and :attr:`Live.error` and the log say what is wrong. One who
only starts then has no last good one: that raises :class:`BadValue`. Processes do not change over at the same
moment. Former values are kept in number, not for ever.

*What to do about that.* Put an alarm on the log, or look at ``Live.error`` in your health check. Let models of old
and new programs be compatible (new fields have defaults). Where all must use the same value at a time, hand the
revision along with the work.

::

    from pydantic import BaseModel, Field
    from coord.recipes.config import BadValue, Config

    class Limits(BaseModel):
        rate: int = Field(gt=0)
        burst: int = 10

    config = Config(client, "/app/limits", Limits)
    first = await config.publish(Limits(rate=100))
    async with config.watch() as live:
        print(live.value.rate)  # → 100
        await config.publish(Limits(rate=200), version=first.version)
        async for published in live:
            print(published.value, published.version)
            if published.version == 1:
                break
        # → rate=200 burst=10 1
        try:
            await config.publish({"rate": -1})
        except BadValue as error:
            print(error.outcome, error.details["problems"])
        # → refused ['rate: Input should be greater than 0']
    print([former.revision == first.revision for former in await config.history()])  # → [True, False]
    print((await config.roll_back(first.revision)).value)  # → rate=100 burst=10
"""

from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from coord.client import Client, Conflict, InvalidRequest, NotFound, Transaction
from coord.recipes.arguments import Deadline, below, checked_client, checked_int, checked_path
from coord.recipes.live import Live, Values
from coord.recipes.typed import BadValue, Published, Typed

__all__ = ["BadValue", "Config", "Former", "Live", "Published", "Values"]

HISTORY: Final = ".history"
"""Behind the path: a sibling, so that who watches or deletes the value has nothing to do with its history."""
KEEP_MAX: Final = 500

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Former:
    """An entry of the history; also the present value has one."""

    revision: int
    data: bytes
    """JSON, as it was published: perhaps no longer what the model takes."""
    wall_ms: int
    """When, by the leader's wall clock; for people."""


class Config(Generic[T]):
    """A value of ``model`` at ``path``: ``Config(client, "/app/limits", Limits)``.

    ``model``: a pydantic model, or any type that pydantic can validate (a dataclass, ``dict[str, int]``). In the
    tree it is JSON. ``default``: what it is where there is none. ``keep``: how many values the history has, the
    present one included.
    """

    def __init__(
        self, client: Client, path: str, model: type[T], *, default: T | None = None, keep: int = 20
    ) -> None:
        self._client = checked_client(client)
        self._path = checked_path(path, "a config")
        if path == "/":
            raise InvalidRequest("a config has a path of its own, like '/app/config', not '/'")
        self._history = path + HISTORY
        self._typed = Typed(self._path, model)
        self._default = default
        self._keep = checked_int(keep, 0, "the number of values to be kept")
        if keep > KEEP_MAX:
            raise InvalidRequest(f"a history keeps {KEEP_MAX} values at most, not {keep}")

    async def read(self, *, deadline: float | None = None) -> Published[T]:
        """The value now. Raises :class:`~coord.client.NotFound` where there is none, and no default; and
        :class:`BadValue`.
        """
        try:
            znode = await self._client.get(self._path, deadline=deadline)
        except NotFound:
            if self._default is None:
                raise
            return Published(self._default, -1, 0)
        return self._typed.decode(znode.value, znode.stat.version, znode.stat.modified_revision)

    async def publish(
        self, value: T | dict[str, Any], *, version: int | None = None, deadline: float | None = None
    ) -> Published[T]:
        """Make it ``value``; with ``version`` only if it has that one (-1: if there is none yet).

        Raises :class:`BadValue` (refused), and :class:`~coord.client.Conflict` (refused) where ``version`` is
        another.
        """
        if version is not None and version != -1:
            checked_int(version, 0, "a version to publish on condition of")
        data, checked = self._typed.encode(value)
        tries: list[Transaction] = []

        async def commit(t: Transaction) -> int:
            tries.append(t)
            before = (await t.get(self._path)).version if await t.exists(self._path) else -1
            if version is not None and before != version:
                what = "there is none" if before < 0 else f"it has version {before}"
                raise Conflict(
                    f"{self._path!r:.80} was to have version {version}; {what}",
                    {"path": self._path, "version": before},
                )
            former = await t.children(self._history) if await t.exists(self._history) else []
            for name in former[: max(len(former) - self._keep + 1, 0)]:
                t.delete(below(self._history, name))
            t.set(self._path, data, create=True, parents=True)
            if self._keep:
                t.create(below(self._history, "v-"), data, sequential=True, parents=True)
            return before + 1

        now = await self._client.transact(commit, deadline=deadline)
        return Published(checked, now, tries[-1].revision)

    async def history(self, *, deadline: float | None = None) -> list[Former]:
        """The values that were published last, the present one at the end."""
        due = Deadline(self._client, deadline)
        found: list[Former] = []
        more, after = True, None
        while more:  # a page ends early where values are large
            try:
                page = await self._client.list(
                    self._history, values=True, stats=True, after=after, deadline=due.left
                )
            except NotFound:
                return []
            found += [
                Former(child.stat.created_revision, child.value, child.stat.created_ms)
                for child in page.children
                if child.value is not None and child.stat is not None
            ]
            more, after = page.more, page.children[-1].name if page.children else None
        return found

    async def roll_back(
        self, revision: int, *, version: int | None = None, deadline: float | None = None
    ) -> Published[T]:
        """Publish again what was published at ``revision``, as a new version. Raises
        :class:`~coord.client.NotFound` (refused) where the history has no such entry, and as :meth:`publish`:
        today's model decides.
        """
        checked_int(revision, 0, "a revision to roll back to")
        due = Deadline(self._client, deadline)
        for former in await self.history(deadline=due.left):
            if former.revision == revision:
                value = self._typed.decode(former.data, 0, revision).value
                return await self.publish(value, version=version, deadline=due.left)
        raise NotFound(
            f"the history of {self._path!r:.80} has nothing of revision {revision!r:.40}",
            {"path": self._path},
        )

    def watch(self, *, deadline: float | None = None) -> "Live[T]":
        """The value, kept up for the length of a block: ``async with config.watch() as live: …``"""
        read = lambda seconds: self.read(deadline=seconds)  # noqa: E731
        return Live(self._client, self._path, self._typed, read, self._default, deadline)
