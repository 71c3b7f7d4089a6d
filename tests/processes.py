"""Real members as real processes, for tests. Nothing here sleeps: a member says on stderr when it serves."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

START_S = 30.0
"""Far more than a start takes; only a hang meets it."""


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, found together so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class Member:
    """One ``coord serve`` process, which can be started again after it has ended."""

    def __init__(self, arguments: Sequence[str], environment: dict[str, str] | None = None) -> None:
        self._command = [sys.executable, "-m", "coord", "serve", *arguments]
        self._environment = {**os.environ, **(environment or {})}
        self.process: subprocess.Popen[str] | None = None
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._reader: threading.Thread | None = None

    def start(self) -> "Member":
        """Start the process; does not wait for anything."""
        self.process = subprocess.Popen(
            self._command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, env=self._environment
        )
        self.lines = []
        self._reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self._reader.start()
        return self

    def wait_for(self, *texts: str) -> str:
        """The first line on stderr with any of ``texts`` in it; fails when the process ends before it says so."""
        with self._news:
            found = self._news.wait_for(lambda: self._find(texts) or self._ended(), START_S)
            line = self._find(texts)
        if line is None:
            wanted = " or ".join(map(repr, texts))
            raise AssertionError(
                f"no line with {wanted} ({'ended' if found else 'in time'}):\n" + "".join(self.lines)
            )
        return line

    def wait_serving(self) -> "Member":
        self.wait_for("serves clients on")
        return self

    def kill(self) -> None:
        """kill -9, and be sure that it is gone."""
        self.signal(signal.SIGKILL)
        self.wait()

    def stop(self) -> int:
        """As an operator stops it; its exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self, seconds: float = START_S) -> int:
        assert self.process is not None
        assert self._reader is not None
        code = self.process.wait(seconds)
        self._reader.join(seconds)
        return code

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def stderr(self) -> str:
        return "".join(self.lines)

    def _find(self, texts: Sequence[str]) -> str | None:
        return next((line for line in self.lines if any(text in line for text in texts)), None)

    def _ended(self) -> bool:
        return bool(self.lines) and self.lines[-1] == ""

    def _read(self, process: "subprocess.Popen[str]") -> None:
        assert process.stderr is not None
        with process.stderr:
            for line in process.stderr:
                with self._news:
                    self.lines.append(line)
                    self._news.notify_all()
        with self._news:
            self.lines.append("")
            self._news.notify_all()


class Cluster:
    """Several members on loopback, with data below ``folder``. A context manager: all are killed at its end."""

    def __init__(self, folder: Path, size: int = 3, extra: Sequence[str] = (), config: str = "") -> None:
        ports = free_ports(2 * size)
        self.client_ports = ports[:size]
        self.folders = [folder / f"member-{number}" for number in range(1, size + 1)]
        spec = ",".join(
            f"{number}=127.0.0.1:{ports[number - 1]}/127.0.0.1:{ports[size + number - 1]}"
            for number in range(1, size + 1)
        )
        self.endpoints = [f"127.0.0.1:{port}" for port in self.client_ports]
        arguments = list(extra)
        if config:
            path = folder / "coord.toml"
            path.write_text(config)
            arguments += ["--config", str(path)]
        self.members = [
            Member(
                [
                    "--member",
                    str(number),
                    "--data",
                    str(self.folders[number - 1]),
                    "--members",
                    spec,
                    *arguments,
                ]
            )
            for number in range(1, size + 1)
        ]

    def __enter__(self) -> "Cluster":
        for member in self.members:
            member.start()
        for member in self.members:
            member.wait_serving()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Kill what runs."""
        for member in self.members:
            if member.running:
                member.kill()
