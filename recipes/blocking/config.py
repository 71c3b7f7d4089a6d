"""Configuration, typed and followed: :mod:`coord.recipes.config`, for plain threads.

*What it guarantees, what it does not, what to do about that*: as there. ``live.value`` may be read in any thread.

::

    from pydantic import BaseModel
    from coord.client.blocking import connect
    from coord.recipes.blocking.config import Config

    class Limits(BaseModel):
        rate: int

    with connect() as client:
        config = Config(client, "/app/limits", Limits)
        config.publish(Limits(rate=100))
        with config.watch() as live:
            print(live.value.rate)  # → 100
            config.publish(Limits(rate=200))
            for published in live:
                if published.version == 1:
                    break
            print(live.value.rate)  # → 200
"""

from functools import partial
from math import inf
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from coord.client import CoordError
from coord.client.blocking import Client
from coord.recipes.blocking.bridge import Bridge, Inside
from coord.recipes.config import BadValue, Former, Published
from coord.recipes.config import Config as AsyncConfig
from coord.recipes.config import Live as AsyncLive
from coord.recipes.config import Values as AsyncValues

__all__ = ["BadValue", "Config", "Former", "Live", "Published", "Values"]

T = TypeVar("T")


class Config(Generic[T]):
    """A value of ``model`` at ``path``: ``Config(client, "/app/limits", Limits)``.

    ``model``: a pydantic model, or any type that pydantic can validate (a dataclass, ``dict[str, int]``). In the
    tree it is JSON. ``default``: what it is where there is none. ``keep``: how many values the history has, the
    present one included.
    """

    def __init__(
        self, client: Client, path: str, model: type[T], *, default: T | None = None, keep: int = 20
    ) -> None:
        self._bridge = Bridge(client)
        self._config = AsyncConfig(self._bridge.client, path, model, default=default, keep=keep)

    def read(self, *, deadline: float | None = None) -> Published[T]:
        """The value now. Raises :class:`~coord.client.NotFound` where there is none, and no default; and
        :class:`BadValue`.
        """
        return self._bridge.run(partial(self._config.read, deadline=deadline), deadline)

    def publish(
        self, value: T | dict[str, Any], *, version: int | None = None, deadline: float | None = None
    ) -> Published[T]:
        """Make it ``value``; with ``version`` only if it has that one (-1: if there is none yet).

        Raises :class:`BadValue` (refused), and :class:`~coord.client.Conflict` (refused) where ``version`` is
        another.
        """
        work = partial(self._config.publish, value, version=version, deadline=deadline)
        return self._bridge.run(work, deadline)

    def history(self, *, deadline: float | None = None) -> list[Former]:
        """The values that were published last, the present one at the end."""
        return self._bridge.run(partial(self._config.history, deadline=deadline), deadline)

    def roll_back(
        self, revision: int, *, version: int | None = None, deadline: float | None = None
    ) -> Published[T]:
        """Publish again what was published at ``revision``, as a new version. Raises
        :class:`~coord.client.NotFound` (refused) where the history has no such entry, and as :meth:`publish`:
        today's model decides.
        """
        work = partial(self._config.roll_back, revision, version=version, deadline=deadline)
        return self._bridge.run(work, deadline)

    def watch(self, *, deadline: float | None = None) -> "Live[T]":
        """The value, kept up for the length of a block: ``with config.watch() as live: …``"""
        return Live(self._bridge, self._bridge.look(partial(self._config.watch, deadline=deadline)), deadline)


class Live(Generic[T]):
    """A config's value, kept up. What :meth:`Config.watch` returns.

    Entering raises :class:`~coord.client.NotFound` where there is none, and no default; and :class:`BadValue`. From
    then on there is always a good one. It can be read also while the connection is away, and when the session has
    ended.
    """

    def __init__(self, bridge: Bridge, live: AsyncLive[T], deadline: float | None) -> None:
        self._bridge = bridge
        self._live = live
        self._deadline = deadline
        self._inside: Inside[AsyncLive[T]] = Inside(bridge, lambda: live, "a config")

    @property
    def value(self) -> T:
        """The last good one."""
        return self._live.value

    @property
    def published(self) -> Published[T]:
        """The last good one, with its version and revision."""
        return self._live.published

    @property
    def error(self) -> CoordError | None:
        """Why the newest in the tree is not what :attr:`value` is: it is bad, or was deleted (and there is no
        default). ``None``: it is.
        """
        return self._live.error

    @property
    def failure(self) -> CoordError | None:
        """Why it will not change any more: the session has ended, for instance."""
        return self._live.failure

    def __iter__(self) -> "Values[T]":
        """The present value at once, and then each new one; of those in quick succession the last. Raises
        :attr:`failure`.
        """
        return Values(self._bridge, self._live.__aiter__())

    def __enter__(self) -> Self:
        self._inside.enter(self._deadline)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._inside.leave(exc_type, exc, traceback)


class Values(Generic[T]):
    """What a loop over a :class:`Live` goes over."""

    def __init__(self, bridge: Bridge, values: AsyncValues[T]) -> None:
        self._bridge = bridge
        self._values = values

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Published[T]:
        try:
            return self._bridge.run(self._values.__anext__, inf)
        except StopAsyncIteration:
            raise StopIteration from None
