"""What the README shows works as it stands there."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from coord.cli.app import build
from tests.processes import Cluster
from tests.rawclient import RawClient

APP = build()

pytestmark = pytest.mark.processes

README = (Path(__file__).parents[1] / "README.md").read_text()


EXAMPLES = [block.split("```")[0] for block in README.split("```python\n")[1:]]


def run(code: str, folder: Path) -> str:
    """What an example prints, with the ports of a cluster of its own."""
    with Cluster(folder) as cluster:
        for number, endpoint in enumerate(cluster.endpoints, 1):
            code = code.replace(f"127.0.0.1:471{number}", endpoint)
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60
        )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_python_example(tmp_path: Path, backend: str) -> None:
    code = EXAMPLES[0]
    assert "anyio.run(main)" in code
    printed = run(code.replace("anyio.run(main)", f"anyio.run(main, backend={backend!r})"), tmp_path)
    assert "somebody was faster: '/app/config' is at version 1" in printed
    assert "['w-0000000000']" in printed
    assert "SET /app/config b'v2'" in printed


def test_the_example_for_plain_threads(tmp_path: Path) -> None:
    assert run(EXAMPLES[1], tmp_path) == "b'red'\n"


def test_the_example_of_a_lock(tmp_path: Path) -> None:
    assert "'/app/report' is fenced" in run(EXAMPLES[2], tmp_path)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_the_example_of_a_task(tmp_path: Path, backend: str) -> None:
    code = EXAMPLES[3].replace("anyio.run(main)", f"anyio.run(main, backend={backend!r})")
    assert run(code, tmp_path) == "sent to a@b\n"


def test_the_commands(tmp_path: Path) -> None:
    lines = re.findall(r"^    \.venv/bin/coord (.*?)(?:\s+#.*)?$", README, re.MULTILINE)
    assert len(lines) >= 7
    with Cluster(tmp_path) as cluster:
        first = RawClient(cluster.client_ports[0])
        first.hello()  # a session: so there is a leader, as there is when `make run` says that it is up
        first.close()
        for line in lines:
            arguments = shlex.split(line)
            if arguments[0] == "torture":
                continue  # tests/jepsen_like/live
            if arguments[0] == "watch":
                arguments += ["--from-revision", "1", "--count", "1"]  # it would stay
            done = CliRunner().invoke(APP, arguments, env={"COORD_ENDPOINTS": ",".join(cluster.endpoints)})
            assert done.exit_code == 0, (line, done.output)


def test_make_targets_are_shown() -> None:
    assert "make run" in README
    assert "make test" in README
