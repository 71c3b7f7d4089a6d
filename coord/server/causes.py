"""Running trio, and which of the errors that come out of it together is the one to tell."""

from collections.abc import Awaitable, Callable

import trio

from coord.api.checks import InvariantViolation
from coord.disk.errors import StorageError
from coord.server.config import ConfigError


class Stopped(Exception):
    """The member cannot go on; the text says why, for the operator."""


def run_trio(main: Callable[[], Awaitable[None]]) -> None:
    """``trio.run``, raising never a group: the one error that stopped the member."""
    try:
        trio.run(main, strict_exception_groups=True)
    except BaseExceptionGroup as group:
        raise _first_cause(group) from None


def _first_cause(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one error that stopped the member; the others were cancelled by it."""
    causes = list(_leaves(group))
    expected = (ConfigError, StorageError, Stopped)
    for cause in causes:
        if isinstance(cause, expected):
            return cause
    for cause in causes:
        if isinstance(cause, InvariantViolation):
            return cause
    return causes[0]


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for each in group.exceptions:
        if isinstance(each, BaseExceptionGroup):
            found += _leaves(each)
        else:
            found.append(each)
    return found
