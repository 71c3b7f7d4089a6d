"""A member, or a client, as a process of its own: started, killed, paused and resumed, and never left behind."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import trio

_PR_SET_PDEATHSIG: Final = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class ChildProcess:
    """A Python program, again and again; what it says is kept in one file."""

    def __init__(
        self, name: str, program: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        """``name``: for people. ``program``: a module and its arguments."""
        self.name = name
        self.log = log
        self.environment = dict(environment or {})
        """What is added to this process's own; a nemesis may add to it before the first start."""
        self.starts_count = 0
        self.killed: dict[int, None] = {}
        """The starts, by number, that ended because :meth:`kill` ended them."""
        self.paused = False
        self._started = trio.Event()
        self._command = [sys.executable, "-m", *program]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Also when it is paused."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """0 while there is none."""
        return self._process.pid if self._process is not None and self.running else 0

    def start(self) -> None:
        """Start it, if it does not run. Waits for nothing."""
        if self.running:
            return
        with self.log.open("ab") as log:
            log.write(b"--- start %d at %d ns\n" % (self.starts_count + 1, time.monotonic_ns()))
            log.flush()
            # A session of its own: Ctrl-C must reach the torturer only, which ends them all in order. Not through
            # trio: it starts processes in a thread, with whose end the death signal below would come.
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment},
                start_new_session=True,
                preexec_fn=_die_with_parent,  # it takes no lock that another thread may hold
            )
        self.starts_count += 1
        self.paused = False
        event, self._started = self._started, trio.Event()
        event.set()

    async def started_after(self, start: int) -> int:
        """Wait until it has been started more than ``start`` times; how often it has been."""
        while self.starts_count <= start:
            await self._started.wait()
        return self.starts_count

    async def ended(self) -> int:
        """Wait until it has ended; its exit code (negative: the signal that ended it)."""
        process = self._process
        if process is None:
            raise RuntimeError(f"{self.name} was never started")
        return await trio.to_thread.run_sync(process.wait, abandon_on_cancel=True)

    async def kill(self) -> None:
        """kill -9, and be sure that it is gone: a paused process goes, too."""
        if self.running:
            self.killed[self.starts_count] = None
        self._signal(signal.SIGKILL)
        self.paused = False
        if self._process is not None:
            with trio.CancelScope(shield=True):
                await self.ended()

    def pause(self) -> None:
        """SIGSTOP. Whoever calls this sees to it that :meth:`resume` is called, whatever happens."""
        self._signal(signal.SIGSTOP)
        self.paused = self.running

    def resume(self) -> None:
        """SIGCONT; nothing if it was not paused."""
        if self.paused:
            self._signal(signal.SIGCONT)
            self.paused = False

    def said(self) -> str:
        """All it has said on stderr so far."""
        try:
            return self.log.read_text("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def _signal(self, number: signal.Signals) -> None:
        """Only ever to this child: Popen knows whether its number is still its own."""
        if self._process is not None:
            self._process.send_signal(number)


class MemberProcess(ChildProcess):
    """``coord serve``, again and again in the same folder."""

    def __init__(
        self, member: int, arguments: Sequence[str], log: Path, environment: Mapping[str, str]
    ) -> None:
        super().__init__(f"member {member}", ("coord", "serve", *arguments), log, environment)
        self.member = member


def _die_with_parent() -> None:
    """Runs in the child. A torturer that is killed with -9 resumes and stops nobody: the kernel does."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
