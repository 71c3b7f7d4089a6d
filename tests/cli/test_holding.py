"""``coord lock`` and ``coord elect`` as real processes, with real commands, signals and stops."""

import fcntl
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

import pytest

from coord.cli.exits import LOST, NOT_A_COMMAND, NOT_ACQUIRED, NOT_EXECUTABLE, UNAVAILABLE, USAGE
from coord.client.blocking import Client, connect
from coord.recipes.fencing import Token
from coord.testing import Cluster, cluster

pytestmark = pytest.mark.processes

HANG_S = 30.0

TRAP = """
import os, signal, sys, time
def told(number, frame):
    print("told", number, flush=True)
    if sys.argv[1] == "obeys":
        sys.exit(7)
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
    signal.signal(number, told)
print("runs", os.getpid(), flush=True)
while True:
    time.sleep(0.01)
"""
"""A command that says what it is told, and obeys or does not."""


@pytest.fixture(scope="module")
def member() -> Iterator[Cluster]:
    with cluster(1) as made:
        yield made


@pytest.fixture
def client(member: Cluster) -> Iterator[Client]:
    with connect(member.endpoints, name="test") as made:
        yield made


class Coord:
    """One ``coord`` process; what it prints is read line by line."""

    def __init__(self, endpoint: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "coord", *arguments],
            env={**os.environ, "COORD_ENDPOINTS": endpoint},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def runs(self) -> int:
        """Wait for the command of TRAP; its process id."""
        word, number = self.line().split()
        assert word == "runs"
        return int(number)

    def end(self) -> tuple[int, str, str]:
        """Wait for its end: exit code, the rest of its output, stderr."""
        out, err = self.process.communicate(timeout=HANG_S)
        assert "Traceback" not in err
        return self.process.returncode, out, err

    def __enter__(self) -> "Coord":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
        stat = Path(f"/proc/{process}/stat").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False
    return stat.rsplit(") ", 1)[1][0] != "Z"


def until_gone(process: int) -> None:
    ends_at = monotonic() + HANG_S
    while is_there(process):
        assert monotonic() < ends_at
        sleep(0.01)


def until_waiting(client: Client, path: str, number: int = 1) -> None:
    while (info := client.claim_info(path)).waiters != number:
        client.exists("/", at_least=info.revision + 1)


@pytest.mark.parametrize("command", ["lock", "elect"])
def test_the_command_runs_with_its_token_and_ends_as_it_ends(
    command: str, member: Cluster, client: Client
) -> None:
    path = f"/{command}-ends"
    script = 'echo $COORD_LOCK_PATH $COORD_TOKEN_INCARNATION $COORD_TOKEN $COORD_FENCING_TOKEN; exit "$1"'
    before = client.claim(path)
    with Coord(member.endpoints[0], command, path, "--", "sh", "-c", script, "sh", "3") as coord:
        until_waiting(client, path)
        [_, waiting] = client.claims(path).claims
        assert waiting.label == b"sh"
        assert waiting.client.startswith("coord (")
        before.release()
        code, out, err = coord.end()
    assert (code, err) == (3, "")
    told, incarnation, revision, token = out.split()
    assert told == path
    assert int(revision) > before.token.revision
    assert Token.parse(token) == Token(int(incarnation), int(revision))
    assert client.claims(path).claims == ()


@pytest.mark.parametrize("command", ["lock", "elect"])
def test_what_is_not_to_be_had_in_time_is_told_by_the_exit_code(
    command: str, member: Cluster, client: Client
) -> None:
    path = f"/{command}-late"
    with client.claim(path, shared=True):
        for how in (("--no-wait",), ("--deadline", "1")):
            with Coord(member.endpoints[0], command, path, *how, "--", "echo", "ran") as coord:
                code, out, err = coord.end()
                assert (code, out) == (NOT_ACQUIRED, "")
                assert path in err
        if command == "lock":
            with Coord(
                member.endpoints[0], "lock", path, "--shared", "--no-wait", "--", "echo", "ran"
            ) as coord:
                assert coord.end() == (0, "ran\n", "")
    assert client.claims(path).claims == ()


def test_commands_that_are_none(member: Cluster, tmp_path: Path) -> None:
    endpoint = member.endpoints[0]
    with Coord(endpoint, "lock", "/none", "--", str(tmp_path / "none")) as coord:
        code, _, err = coord.end()
        assert (code, "No such file" in err) == (NOT_A_COMMAND, True)
    with Coord(endpoint, "lock", "/none", "--", str(tmp_path)) as coord:
        assert coord.end()[0] == NOT_EXECUTABLE
    with Coord(endpoint, "lock", "none", "--", "true") as coord:
        assert coord.end()[0] == USAGE
    with Coord(endpoint, "lock", "/none", "--grace", "5", "--", "true") as coord:
        assert coord.end()[0] == USAGE
    with Coord("127.0.0.1:1", "lock", "/none", "--deadline", "0.5", "--", "true") as coord:
        assert coord.end()[0] == UNAVAILABLE


def test_signals_are_the_commands(member: Cluster, client: Client) -> None:
    with Coord(
        member.endpoints[0], "lock", "/signals", "--", sys.executable, "-c", TRAP, "minds not"
    ) as coord:
        process = coord.runs()
        for number in (signal.SIGUSR1, signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
            coord.process.send_signal(number)
            assert coord.line() == f"told {int(number)}"
        os.kill(process, signal.SIGKILL)
        assert coord.end()[0] == 128 + signal.SIGKILL
    assert client.claims("/signals").claims == ()


def test_a_signal_while_it_waits_ends_it(member: Cluster, client: Client) -> None:
    with client.claim("/early"), Coord(member.endpoints[0], "lock", "/early", "--", "echo", "ran") as coord:
        until_waiting(client, "/early")
        coord.process.send_signal(signal.SIGTERM)
        assert coord.end() == (128 + signal.SIGTERM, "", "")
        assert client.claim_info("/early").waiters == 0


@pytest.mark.parametrize("manner", ["obeys", "minds not"])
def test_a_lock_that_is_taken_away_ends_the_command(manner: str, member: Cluster, client: Client) -> None:
    """The shell ends by SIGTERM. So does what it has started, or else it is killed after the grace."""
    script = f'{sys.executable} -c "$0" "$1" & wait'
    arguments = ("--grace", "0.3", "--", "sh", "-c", script, TRAP, manner)
    with Coord(member.endpoints[0], "lock", "/taken", *arguments) as coord:
        process = coord.runs()
        [claim] = client.claims("/taken").claims
        client.release(claim.number, force=True)
        assert coord.line() == f"told {int(signal.SIGTERM)}"
        code, _, err = coord.end()
        assert code == LOST
        assert "another session released it" in err
        assert not is_there(process)


def test_a_lock_process_that_is_stopped_for_longer_than_its_session_ends_its_command(
    member: Cluster, client: Client
) -> None:
    arguments = ("--session-timeout", "0.5", "--grace", "0.1")
    with Coord(
        member.endpoints[0], "lock", "/stopped", *arguments, "--", sys.executable, "-c", TRAP, "minds not"
    ) as coord:
        process = coord.runs()
        [claim] = client.claims("/stopped").claims
        coord.process.send_signal(signal.SIGSTOP)
        with client.claim("/stopped", deadline=10) as grant:  # it expires
            assert claim.token is not None
            assert grant.token > claim.token
            assert is_there(process), "nothing minds it while its keeper is stopped, as the help says"
            coord.process.send_signal(signal.SIGCONT)
            code, out, err = coord.end()
            assert code == LOST
            assert "is lost" in err
            assert out == f"told {int(signal.SIGTERM)}\n"
            assert not is_there(process)
            assert grant.held


def test_the_command_has_ended_before_anybody_else_has_the_lock(coord_cluster: Cluster) -> None:
    """The process of the lock is cut off: it ends the command by its own clock, grace and all, and in time."""
    here, elsewhere = coord_cluster.member(1).endpoint, coord_cluster.member(2).endpoint
    arguments = ("--session-timeout", "1.5", "--grace", "0.5")
    with (
        connect(elsewhere, discover=False) as client,
        Coord(here, "lock", "/cut", *arguments, "--", sys.executable, "-c", TRAP, "minds not") as coord,
    ):
        process = coord.runs()
        coord_cluster.cut_off(1, peers=False)
        granted = client.claim("/cut", deadline=20)
        assert not is_there(process)
        coord_cluster.heal(1)
        code, _, _ = coord.end()
        assert code == LOST
        assert granted.held


def test_a_lock_process_that_is_killed_takes_its_command_with_it(member: Cluster, client: Client) -> None:
    arguments = ("--session-timeout", "1")
    with Coord(
        member.endpoints[0], "lock", "/killed", *arguments, "--", sys.executable, "-c", TRAP, "minds not"
    ) as coord:
        process = coord.runs()
        coord.process.kill()
        until_gone(process)
        client.claim("/killed", deadline=10).release()


def test_what_a_command_has_started_goes_with_a_lock_process_that_is_killed(member: Cluster) -> None:
    script = ("sh", "-c", '"$@" & wait', "sh", sys.executable, "-c", TRAP, "minds not")
    with Coord(member.endpoints[0], "lock", "/killed-with-all", "--", *script) as coord:
        process = coord.runs()
        try:
            coord.process.kill()
            until_gone(process)
        finally:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)  # else it keeps our pipes open


def test_what_a_command_leaves_running_is_its_own_affair(member: Cluster) -> None:
    script = ("sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!")
    with Coord(member.endpoints[0], "lock", "/left", "--", *script) as coord:
        code, out, _ = coord.end()
    assert code == 0
    assert is_there(int(out))
    os.kill(int(out), signal.SIGKILL)


def test_within_one_another_each_holds(member: Cluster, client: Client) -> None:
    """What is written below a fence of the outer one presents its token, too."""
    client.create("/nested")
    client.fence("/nested", "/outer")
    script = 'echo $COORD_FENCING_TOKEN $COORD_FENCING_TOKENS; "$0" -m coord set /nested "$COORD_LOCK_PATH"'
    within = (sys.executable, "-m", "coord", "lock", "/inner", "--", "sh", "-c", script, sys.executable)
    with Coord(member.endpoints[0], "lock", "/outer", "--", *within) as coord:
        code, out, err = coord.end()
    assert (code, err) == (0, "")
    assert client.get("/nested").value == b"/inner"
    own, outer, inner = (Token.parse(each) for each in out.splitlines()[0].split())
    assert own == inner > outer


def test_in_a_terminal_ctrl_c_comes_once(member: Cluster) -> None:
    """A terminal tells everybody in its foreground, and so the command; it is not to hear of it twice."""
    ours, theirs = pty.openpty()
    keeper = subprocess.Popen(
        [sys.executable, "-m", "coord", "lock", "/tty", "--", sys.executable, "-c", TRAP, "minds not"],
        env={**os.environ, "COORD_ENDPOINTS": member.endpoints[0]},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0) and None,
    )
    os.close(theirs)
    shown = ""

    def until(words: str) -> None:
        nonlocal shown
        while words not in shown:
            shown += os.read(ours, 1000).decode()

    try:
        until("runs ")
        until("\r\n")
        process = int(shown.split()[1])
        os.write(ours, b"\x03")
        until(f"told {int(signal.SIGINT)}")
        keeper.send_signal(signal.SIGTERM)
        until(f"told {int(signal.SIGTERM)}")
        assert shown.count(f"told {int(signal.SIGINT)}") == 1
        os.kill(process, signal.SIGKILL)
        assert keeper.wait(HANG_S) == 128 + signal.SIGKILL
    finally:
        keeper.kill()
        keeper.wait()
        os.close(ours)
