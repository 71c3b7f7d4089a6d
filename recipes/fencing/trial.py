"""A guard on trial: used by a thread of its own, and stopped at any line. What the conformance checks are made of."""

import os
import sys
import sysconfig
import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, Final, Protocol, TypeVar

from coord.client import Token
from coord.recipes.fencing.token import StaleToken

T = TypeVar("T")


class Guarded(Protocol):
    """One way to a guarded resource. It is used by one thread; a ``close()`` is called at the end if there is
    one.
    """

    def write(self, name: str, token: Token, value: bytes) -> None:
        """Make ``value`` what ``name`` holds, or raise :class:`~coord.recipes.fencing.StaleToken`.

        A failure that only says "try again" (a serialization failure, a lock not got) is to be tried again in
        here.
        """

    def read(self, name: str) -> bytes | None:
        """What ``name`` holds now; ``None``: nothing was written yet."""


MakeGuard = Callable[[], Guarded]


@dataclass(frozen=True, slots=True)
class Effort:
    """How hard to try."""

    rounds: int = 40
    """Of each storm, per thread or process; ten of them are one stop and go."""
    lines_max: int = 300
    """At how many lines of a write, at most, its holder is stopped."""
    patience: float = 0.05
    """Seconds after which a write is taken to wait for a stopped holder, which it may."""
    limit: float = 60.0
    """Seconds after which a write is taken never to end, which it may not."""


DEFAULT: Final = Effort()


class BrokenGuard(AssertionError):
    """The guard broke a promise; the text tells how."""


# --- a guard in a thread of its own ------------------------------------------------------------------------


class Hand:
    """A guard, and the one thread that uses it."""

    def __init__(self, make_guard: MakeGuard, effort: Effort) -> None:
        self._effort = effort
        self._thread = ThreadPoolExecutor(1)
        self.guard = self._result(self._thread.submit(make_guard), "make_guard()")

    def close(self) -> None:
        close = getattr(self.guard, "close", None)
        if close is not None:
            self._thread.submit(close).result(self._effort.limit)
        self._thread.shutdown(wait=False)

    def begin(self, function: Callable[..., T], *arguments: Any) -> "Future[T]":
        return self._thread.submit(function, *arguments)

    def read(self, name: str) -> bytes | None:
        return self._result(self.begin(self.guard.read, name), f"read({name!r})")

    def must_write(self, name: str, token: Token, value: bytes) -> None:
        self.must_succeed(self.begin(self.guard.write, name, token, value), f"write({name!r}, {token}, …)")

    def must_refuse(self, name: str, token: Token, greatest: Token) -> None:
        what = f"write({name!r}, {token}, …) after {greatest}"
        try:
            self._result(self.begin(self.guard.write, name, token, b"stale"), what)
        except StaleToken as error:
            if (error.presented, error.greatest) != (token, greatest):
                raise BrokenGuard(
                    f"{what} was refused as {error.presented} below {error.greatest}; those are not the ones"
                ) from error
        else:
            raise BrokenGuard(f"{what} was let in")

    def must_hold(self, name: str, value: bytes) -> None:
        if (held := self.read(name)) != value:
            raise BrokenGuard(f"{name!r} should hold {value!r}, and holds {held!r}")

    def must_succeed(self, writing: "Future[None]", what: str) -> None:
        try:
            self._result(writing, what)
        except StaleToken as error:
            raise BrokenGuard(f"{what}, and was refused, with no greater token around: {error}") from error

    def may_fail(self, writing: "Future[None]") -> None:
        """Refused, or broken off by the resource: both are well, so long as nothing was written."""
        try:
            writing.result(self._effort.limit)
        except FutureTimeout:
            raise BrokenGuard("a write that had been stopped never ended") from None
        except Exception:  # noqa: BLE001
            return

    def _result(self, begun: "Future[T]", what: str) -> T:
        try:
            return begun.result(self._effort.limit)
        except FutureTimeout:
            raise BrokenGuard(f"{what}: no end of it after {self._effort.limit:g} s") from None
        except StaleToken:
            raise
        except Exception as error:
            raise BrokenGuard(f"{what}: {type(error).__name__}: {error}") from error


@contextmanager
def hand(make_guard: MakeGuard, effort: Effort) -> Iterator[Hand]:
    hand = Hand(make_guard, effort)
    try:
        yield hand
    finally:
        hand.close()


def ended(begun: "Future[None]", seconds: float) -> bool:
    try:
        begun.exception(seconds)
    except FutureTimeout:
        return False
    return True


def new_name() -> str:
    return f"conformance-{uuid.uuid4().hex}"


# --- a thread that is stopped at a line ---------------------------------------------------------------------

_LIBRARIES: Final = tuple(
    sysconfig.get_paths()[each] for each in ("stdlib", "platstdlib", "purelib", "platlib")
)


class Stop:
    """Runs a function in this thread up to its n-th line, and waits there."""

    def __init__(self, line: int) -> None:
        self._lines_left = line
        self._there = threading.Event()
        self._on = threading.Event()
        self.where = ""

    def run(self, function: Callable[..., None], *arguments: Any) -> None:
        before = sys.gettrace()
        sys.settrace(self._trace)
        try:
            function(*arguments)
        finally:
            sys.settrace(before)
            self._there.set()  # at its end, if nowhere before

    def reached(self, running: "Future[None]", seconds: float) -> bool:
        """Whether it waits at the line now; ``False``: it has ended before."""
        if not self._there.wait(seconds):
            raise BrokenGuard(f"a write that nobody disturbed had no end after {seconds:g} s")
        return bool(self.where)

    def go_on(self) -> None:
        self._on.set()

    def _trace(self, frame: FrameType, event: str, argument: object) -> Any:
        file = frame.f_code.co_filename
        if file == __file__ or file.startswith(("<", *_LIBRARIES)):
            return None
        if event == "line":
            self._lines_left -= 1
            if self._lines_left == 0:
                self.where = f"{os.path.basename(file)}:{frame.f_lineno}"
                self._there.set()
                self._on.wait()
        return self._trace
