"""A command that runs while something is held, and is ended when that is lost."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final

import anyio

from coord.cli.exits import SIGNALLED

PASSED_ON: Final = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
FROM_THE_TERMINAL: Final = (signal.SIGINT, signal.SIGQUIT)
"""A terminal sends them to every process in the foreground by itself."""

GROUP_LOOK_SECONDS: Final = 0.02
"""How often it is looked whether what an ended command has started has ended, too."""

_PR_SET_PDEATHSIG: Final = 1

_WHEN_WE_ARE_GONE: Final = 'read -r _ || kill -s KILL -- "-$0"'
"""Of a shell, whose input is a pipe that only we have the other end of: a line of ours, or its end."""


class Child:
    """A running command.

    It has a process group of its own, so that what it starts in turn is told of signals, too, and is ended
    with it. In the foreground of a terminal it stays in ours (a shell and its Ctrl-C and Ctrl-Z know that one
    only), and what it starts is its own affair.

    When this process is killed outright (kill -9) nobody is left to mind the claim; Linux ends the command then, and a
    shell beside it, which waits for our end, what it has started. Nothing does while this process is stopped: the
    command runs on, and its token is what resources refuse.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Raises OSError when there is no such command, or it can't be run."""
        self._shares_group = _in_the_foreground()
        # Not in a thread, as a library would: the kernel's word is that of the thread that has started it.
        self._process = subprocess.Popen(
            command,
            env=environment,
            process_group=None if self._shares_group else 0,
            preexec_fn=_ended_with(os.getpid()),
        )
        self._watcher: subprocess.Popen[bytes] | None = None
        if not self._shares_group:
            with suppress(OSError):  # where there is no shell the command alone is ended with us
                # A session of its own: it is not to be told what the command is told.
                self._watcher = subprocess.Popen(
                    ["/bin/sh", "-c", _WHEN_WE_ARE_GONE, str(self._process.pid)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )

    async def wait(self) -> int:
        """Wait for its end; its exit code, as a shell has it. *Cancellation:* it runs on."""
        code = await anyio.to_thread.run_sync(self._process.wait, abandon_on_cancel=True)
        return code if code >= 0 else SIGNALLED - code

    def pass_on(self, number: int) -> None:
        """We were sent a signal."""
        if not (self._shares_group and number in FROM_THE_TERMINAL):
            self._send(number)

    async def end(self, grace: float) -> None:
        """SIGTERM, and SIGKILL to what is left of it after ``grace`` seconds. *Cancellation:* shielded."""
        with anyio.CancelScope(shield=True):
            if self._process.poll() is None:
                self._send(signal.SIGTERM)
                self._send(signal.SIGCONT)  # one that is stopped would not hear of it
                with anyio.move_on_after(grace):
                    await self.wait()
                    await self._until_the_group_is_gone()
            self._send(signal.SIGKILL)
            await self.wait()

    def close(self) -> None:
        """It has ended: what it has left running is its own affair."""
        if self._watcher is not None:
            self._watcher.communicate(b"\n")

    async def _until_the_group_is_gone(self) -> None:
        """What the command has started may take as long to end as the command; nothing tells us when it has."""
        while not self._shares_group:
            try:
                os.killpg(self._process.pid, 0)
            except (ProcessLookupError, PermissionError):
                return
            await anyio.sleep(GROUP_LOOK_SECONDS)

    def _send(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):  # gone; or another user's by now
            if self._shares_group:
                self._process.send_signal(number)
            else:
                os.killpg(self._process.pid, number)


def _in_the_foreground() -> bool:
    """Whether a terminal's Ctrl-C comes to us: then our group is its own."""
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return False  # no terminal, or none of ours


def _ended_with(parent: int) -> Callable[[], None] | None:
    """What has the command killed when ``parent`` is gone; ``None`` where that is not to be had."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(SIGNALLED + signal.SIGKILL)  # it was gone before

    return ask
