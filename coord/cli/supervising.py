"""The process that starts worker processes, watches over them, and is who signals are for. :mod:`coord.cli.fleet`
decides; here are processes, signals and the clock.

It never imports the user's code, so that a reload is a fresh interpreter: whatever was imported, from wherever, is new.

Parent and child share a pair of sockets. The child says on it that it works; and whoever of the two hears nothing but
its end knows that the other is gone: a worker whose supervisor was killed finishes what it runs, and ends.
"""

import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import Any, Final

import trio

from coord.cli.fleet import Fleet, Order, Say, Send, Start

log = logging.getLogger("coord.worker")

LOOK_S: Final = 1.0
"""How often ``--reload`` looks whether a file has changed."""

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Supervisor:
    """Runs ``command``, with the number of a socket behind it, so many times."""

    def __init__(
        self, command: Sequence[str], size: int, *, watch_files: bool = False, number_names: bool = False
    ) -> None:
        """``number_names``: the argument of ``--name`` gets a number behind it, in each process another."""
        self._number_names = number_names
        self._command = list(command)
        self._fleet = Fleet(size)
        self._watch_files = watch_files
        self._processes: dict[int, trio.Process] = {}
        self._files: dict[str, float] = {}
        """What the workers have loaded -> when it was changed last."""
        self._news = trio.Event()

    async def run(self) -> int:
        """Until all have ended; the exit code."""
        async with trio.open_nursery() as nursery:
            with trio.open_signal_receiver(*SIGNALS) as signals:
                nursery.start_soon(self._hear, signals)
                if self._watch_files:
                    nursery.start_soon(self._look_at_files)
                self._fleet.begin()
                while True:
                    for order in self._fleet.take_orders():
                        await self._carry_out(order, nursery)
                    if self._fleet.done:
                        break
                    self._news = trio.Event()
                    with trio.move_on_at(min(self._fleet.due_at, trio.current_time() + 3600)):
                        await self._news.wait()
                    self._fleet.tick(trio.current_time())
                nursery.cancel_scope.cancel()
        return self._fleet.exit_code

    async def _hear(self, signals: Any) -> None:
        async for number in signals:
            # A terminal that is closed says so by SIGHUP, too.
            if number == signal.SIGHUP and not _at_a_terminal():
                self._fleet.reload()
            else:
                self._fleet.stop()
            self._news.set()

    async def _carry_out(self, order: Order, nursery: trio.Nursery) -> None:
        if isinstance(order, Start):
            await self._start(order.number, nursery)
        elif isinstance(order, Send):
            with suppress(ProcessLookupError):  # it has ended, and we are about to hear of it
                self._processes[order.number].send_signal(order.signal)
        elif isinstance(order, Say):
            log.warning("%s", order.text)

    async def _start(self, number: int, nursery: trio.Nursery) -> None:
        ours, theirs = socket.socketpair()
        command = [*self._command, str(theirs.fileno())]
        if self._number_names:
            place = command.index("--name") + 1
            command[place] += f"-{number}"
        with theirs:
            process = await trio.lowlevel.open_process(command, pass_fds=[theirs.fileno()])
        self._processes[number] = process
        nursery.start_soon(self._mind, number, process, trio.socket.from_stdlib_socket(ours))

    async def _mind(self, number: int, process: trio.Process, stream: trio.socket.SocketType) -> None:
        try:
            with stream:
                said = b""
                while data := await _received(stream):
                    said += data
                    *lines, said = said.split(b"\n")
                    for line in lines:
                        self._said(number, json.loads(line))
                code = await process.wait()
        finally:
            if process.returncode is None:  # this process fails; theirs is to finish
                process.terminate()
        del self._processes[number]
        self._fleet.ended(number, code, trio.current_time())
        self._news.set()

    def _said(self, number: int, message: dict[str, Any]) -> None:
        self._fleet.ready(number, trio.current_time())
        self._files |= {path: _changed_at(path) for path in message["files"]}
        self._news.set()

    async def _look_at_files(self) -> None:
        while True:
            await trio.sleep(LOOK_S)
            changed = [path for path, before in self._files.items() if _changed_at(path) != before]
            if changed:
                self._files.clear()  # the fresh ones will say
                log.warning("%s has changed", changed[0])
                self._fleet.reload()
                self._news.set()


async def _received(stream: trio.socket.SocketType) -> bytes:
    try:
        return await stream.recv(65536)
    except ConnectionResetError:
        return b""


def _changed_at(path: str) -> float:
    try:
        return Path(path).stat().st_mtime
    except OSError:
        return -inf


def _at_a_terminal() -> bool:
    try:
        return os.isatty(sys.stdin.fileno()) and os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError, AttributeError):
        return False


# --- the other end --------------------------------------------------------------------------------------------------


def say_ready(line: socket.socket, watch_files: bool) -> None:
    """The worker works."""
    files = _own_files() if watch_files else []
    line.sendall(json.dumps({"ready": True, "files": files}).encode() + b"\n")


def _own_files() -> list[str]:
    """Of the modules that are loaded: those that somebody may be working at."""
    installed = (sys.prefix, sys.base_prefix)
    paths = [getattr(module, "__file__", None) for module in list(sys.modules.values())]
    return sorted(
        path
        for path in paths
        if path and path.endswith(".py") and ("site-packages" not in path) and not path.startswith(installed)
    )
