"""What recipes are given, checked when it comes in."""

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import TypeVar, cast

import anyio

from coord.client import Cache, Client, DeadlineExceeded, InvalidRequest

T = TypeVar("T")


def checked_client(client: Client) -> Client:
    """``client``, if it is one for tasks."""
    if not isinstance(client, Client):
        raise InvalidRequest(
            f"this recipe is for a client of coord.client, not for {type(client).__module__}.{type(client).__name__}; "
            "for that of coord.client.blocking there is the same in coord.recipes.blocking"
        )
    return client


def checked_path(path: str, what: str) -> str:
    """``path``, if it can be one. The service checks the rest of it."""
    if not isinstance(path, str) or not path.startswith("/") or (path.endswith("/") and path != "/"):
        raise InvalidRequest(f"{what} has a path like '/app/{what.split()[-1]}', not {path!r:.60}")
    return path


def below(path: str, name: str) -> str:
    return f"/{name}" if path == "/" else f"{path}/{name}"


def checked_name(name: str, what: str) -> str:
    """``name``, if it can be the last part of a path. Those with a dot before them are for recipes themselves."""
    if not isinstance(name, str) or not name or "/" in name or name.startswith("."):
        raise InvalidRequest(f"{what} is text without '/', and does not begin with '.'; not {name!r:.60}")
    return name


def checked_int(number: int, least: int, what: str) -> int:
    if isinstance(number, bool) or not isinstance(number, int) or number < least:
        raise InvalidRequest(f"{what} is a whole number, {least} or more; not {number!r:.60}")
    return number


def checked_function(function: Callable[..., T], what: str) -> Callable[..., T]:
    if not callable(function):
        raise InvalidRequest(f"{what} is a function, not {function!r:.60}")
    return function


async def awaited(result: Awaitable[T], what: str) -> T:
    """What ``result`` comes to: ``what`` was called, and is to be an ``async def``."""
    if not isawaitable(result):
        raise InvalidRequest(
            f"{what} is an async function, and this one returned {result!r:.40} when it was called; for plain "
            "functions there is the same in coord.recipes.blocking"
        )
    return await result


def checked_seconds(seconds: float) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds != seconds:
        raise InvalidRequest(f"a deadline is a number of seconds, not {seconds!r:.40}")
    return seconds


class Deadline:
    """One deadline for several steps. ``seconds``: ``None``: the client's default; ``inf``: none."""

    def __init__(self, client: Client, seconds: float | None) -> None:
        self._ends_at = anyio.current_time() + checked_seconds(
            client.deadline if seconds is None else seconds
        )

    @property
    def left(self) -> float:
        """Seconds; 0 when it has passed."""
        return max(self._ends_at - anyio.current_time(), 0.0)


async def wait_for(cache: Cache, condition: Callable[[], T | None], due: Deadline, message: str) -> T:
    """As :meth:`Cache.wait_for`, with a ``message`` that says what was waited for in vain."""
    try:
        return cast(T, await cache.wait_for(condition, deadline=due.left))
    except DeadlineExceeded:
        raise DeadlineExceeded(message, outcome="refused") from None
