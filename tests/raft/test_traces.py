"""Every script under traces/ gives exactly the output that stands in it.

``COORD_REWRITE=1`` writes what it gives now. Commit a changed trace only if you can explain the change.
"""

import os
from pathlib import Path

import pytest

from tests.raft.script import replay

TRACES = sorted((Path(__file__).parent / "traces").glob("*.txt"))


@pytest.mark.parametrize("path", TRACES, ids=lambda path: path.stem)
def test_trace(path: Path) -> None:
    expected = path.read_text()
    assert expected.startswith("# "), "a trace is headed by the sentence it is about"
    actual = replay(expected)
    if os.environ.get("COORD_REWRITE") == "1":
        path.write_text(actual)
    else:
        assert actual == expected


def test_there_are_traces() -> None:
    assert len(TRACES) >= 10
