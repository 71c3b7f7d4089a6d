"""Storms of writes, and guards in processes of their own that can be stopped and killed."""

import itertools
import multiprocessing
import os
import pickle
import random
import signal
import time
from concurrent.futures import Future
from multiprocessing.connection import Connection
from typing import Any

from coord.client import CoordError, InvalidRequest, Token
from coord.recipes.fencing.token import StaleToken
from coord.recipes.fencing.trial import BrokenGuard, Effort, Guarded, Hand, MakeGuard

# -----------------------------------------------------------------------------------------------------


def storm_tokens(writers: int, writer: int, rounds: int) -> list[Token]:
    """What one of the writers presents: each a share of a growing row, and some of them a little late."""
    dice = random.Random(writer)
    numbers = [number * writers + writer + 1 for number in range(rounds)]
    return [Token(1, max(number - dice.choice((0, 0, 0, writers, 3 * writers)), 1)) for number in numbers]


def storm_of_writes(make_guard: MakeGuard, name: str, tokens: list[Token]) -> tuple[str, list[str]]:
    """Write with all of them; gives the greatest that was let in (``""``: none), and what should not have
    been.
    """
    guard = make_guard()
    greatest: Token | None = None
    wrong = []
    try:
        for token in tokens:
            try:
                guard.write(name, token, str(token).encode())
            except StaleToken as error:
                if error.presented != token or not error.greatest > token:
                    wrong.append(f"{token} was refused as {error.presented} below {error.greatest}")
            else:
                if greatest is not None and token < greatest:
                    wrong.append(f"{token} was let in after the same writer's {greatest}")
                else:
                    greatest = token
    finally:
        close = getattr(guard, "close", None)
        if close is not None:
            close()
    return str(greatest or ""), wrong


def watch_storm(
    reader: Hand, name: str, writing: "list[Future[tuple[str, list[str]]]]", effort: Effort
) -> None:
    until = time.monotonic() + 4 * effort.limit
    seen: Token | None = None
    for last in itertools.count():
        over = all(
            each.done() for each in writing
        )  # looked at before the read, so that the last read is after the last write
        if (value := reader.read(name)) is not None:
            try:
                token = Token.parse(value.decode())
            except (CoordError, ValueError) as error:
                raise BrokenGuard(f"{name!r} holds {value!r:.60}, which nobody has written to it") from error
            if seen is not None and token < seen:
                raise BrokenGuard(f"the value of {seen} was replaced by that of {token}, read {last}")
            seen = token
        if over:
            break
        if time.monotonic() > until:
            raise BrokenGuard(f"a storm had no end after {4 * effort.limit:g} s")
    let_in = []
    for each in writing:
        try:
            greatest, wrong = each.result()
        except Exception as error:
            raise BrokenGuard(f"in a storm: {type(error).__name__}: {error}") from error
        if wrong:
            raise BrokenGuard("; ".join(wrong[:5]))
        let_in += [Token.parse(greatest)] if greatest else []
    if seen != max(let_in, default=None):
        greatest_of_all = max(let_in, default=None)
        raise BrokenGuard(
            f"the storm ended with the value of {seen}; the greatest that was let in is {greatest_of_all}"
        )


# ------------------------------------------------------------------------


class Child:
    """A process with a guard, that is told what to do, and can be stopped and killed."""

    def __init__(self, make_guard: MakeGuard, effort: Effort) -> None:
        self._effort = effort
        context = multiprocessing.get_context("spawn")  # a fork would share what a guard has open
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_live, args=(theirs, make_guard), daemon=True)
        try:
            pickle.dumps(make_guard)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise InvalidRequest(
                f"other processes have to find make_guard by its name: a function at the top of a module, or a"
                f" functools.partial of one ({error}). For a guard in memory: processes=False"
            ) from None
        self._process.start()
        theirs.close()

    def ready(self) -> None:
        self._answer("make_guard()")

    def storm(self, name: str, tokens: list[Token]) -> tuple[str, list[str]]:
        self._pipe.send(("storm", name, tokens))
        greatest, wrong = self._answer("a storm")
        return greatest, wrong

    def begin_to_write(self, name: str, token: Token) -> None:
        self._pipe.send(("write", name, token))

    def refusal(self) -> str:
        """The greatest token that the refusal named, which ended the writing."""
        return str(self._answer("a write of a stale holder was not refused"))

    def write_and_die(self, name: str, token: Token, value: bytes) -> None:
        self._pipe.send(("die", name, token, value))
        self._process.join(self._effort.limit)
        if self._process.exitcode != -signal.SIGKILL:
            raise BrokenGuard(f"write({name!r}, {token}, …) in another process: {self._answer('it')}")

    def stop(self) -> None:
        os.kill(self._pid, signal.SIGSTOP)
        os.waitpid(self._pid, os.WUNTRACED)

    def go_on(self) -> None:
        os.kill(self._pid, signal.SIGCONT)

    def end(self) -> None:
        self._process.kill()  # it may be anywhere, stopped too
        self._process.join()
        self._process.close()
        self._pipe.close()

    @property
    def _pid(self) -> int:
        pid = self._process.pid
        assert pid is not None
        return pid

    def _answer(self, what: str) -> Any:
        if not self._pipe.poll(self._effort.limit):
            raise BrokenGuard(f"{what}: nothing heard for {self._effort.limit:g} s from another process")
        try:
            answer, error = self._pipe.recv()
        except EOFError:
            raise BrokenGuard(f"{what}: the other process has died") from None
        if error:
            raise BrokenGuard(f"{what}: in another process: {error}")
        return answer


def _live(pipe: Connection, make_guard: MakeGuard) -> None:
    """The child's life."""
    try:
        guard = make_guard()
        pipe.send((None, ""))
        while True:
            task, name, *rest = pipe.recv()
            if task == "storm":
                pipe.send((storm_of_writes(make_guard, name, rest[0]), ""))
            elif task == "write":
                pipe.send((_write_until_refused(guard, name, rest[0]), ""))
            else:
                guard.write(name, *rest)
                os.kill(os.getpid(), signal.SIGKILL)
    except EOFError:
        return
    except Exception as error:  # noqa: BLE001  told, with its name, to whoever waits for an answer
        pipe.send((None, f"{type(error).__name__}: {error}"))


def _write_until_refused(guard: Guarded, name: str, token: Token) -> str:
    while True:
        try:
            guard.write(name, token, b"old")
        except StaleToken as error:
            return str(error.greatest)
