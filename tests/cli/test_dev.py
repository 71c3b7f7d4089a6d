"""``coord dev``, which is what ``make run`` runs: three members up, a dead one restarted, a clean end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from coord.api.ops import Get, Set
from tests.processes import free_ports
from tests.rawclient import RawClient, close_all

pytestmark = pytest.mark.processes


class Dev:
    def __init__(self, folder: Path, port: int) -> None:
        command = [sys.executable, "-u", "-m", "coord", "dev", "--data", str(folder), "--port", str(port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.lines: list[str] = []

    def wait_for(self, text: str) -> str:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)
            if text in line:
                return line
        raise AssertionError(f"no line with {text!r}:\n" + "".join(self.lines))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        assert self.process.stdout is not None
        self.lines += self.process.stdout.readlines()
        self.process.stdout.close()
        return self.process.wait(30)


def pids(port: int, member: int) -> list[int]:
    command = ["pgrep", "-f", f"serve --member {member} --members 1=127.0.0.1:{port},"]
    return [
        int(each)
        for each in subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    ]


def free_row() -> int:
    """The first of three ports in a row, whose peers' ports (ten further on) are free too."""
    while True:
        [port] = free_ports(1)
        wanted = [port, port + 1, port + 2, port + 10, port + 11, port + 12]
        if port < 60_000 and not any(in_use(each) for each in wanted):
            return port


def in_use(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
        return False


def test_three_members_restarted_when_they_die_and_stopped_together(tmp_path: Path) -> None:
    port = free_row()
    dev = Dev(tmp_path / "run", port)
    dev.wait_for("up after")
    client = RawClient(port)
    client.hello()
    assert client.write(Set("/kept", b"x", create=True).row())[0][1] == 0
    os.kill(pids(port, 2)[0], signal.SIGKILL)
    assert "restarting" in dev.wait_for("member 2 was killed by SIGKILL")
    dev.wait_for("member 2 is up again")
    for _ in range(3):  # one that served is back at once, each time, and told of once
        [victim_id] = pids(port, 2)
        os.kill(victim_id, signal.SIGKILL)
        assert "restarting it in 0.2 s" in dev.wait_for("member 2 was killed by SIGKILL")
        dev.wait_for("member 2 is up again")
    close_all()
    assert dev.stop() == 0
    assert "".join(dev.lines).count("member 2 is up again") == 4
    assert "stopped" in "".join(dev.lines)
    again = Dev(tmp_path / "run", port)
    again.wait_for("up after")
    reader = RawClient(port + 1)
    reader.hello(0)
    assert reader.read(Get("/kept").row())[0][4][0] == b"x"
    close_all()
    assert again.stop() == 0
    assert "Traceback" not in "".join(dev.lines + again.lines)


def test_a_second_one_says_that_the_ports_are_in_use(tmp_path: Path) -> None:
    port = free_row()
    dev = Dev(tmp_path / "one", port)
    dev.wait_for("up after")
    other = Dev(tmp_path / "two", port)
    other.wait_for("the port is in use")
    assert other.process.stdout is not None
    rest = other.process.stdout.read()
    other.process.stdout.close()
    assert other.process.wait(30) == 2
    told = rest + "".join(other.lines)
    assert "Traceback" not in told
    assert "up after" not in told, "it has taken the members of the first for its own"
    assert dev.stop() == 0
