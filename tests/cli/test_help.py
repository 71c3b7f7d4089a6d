"""What ``--help`` shows is what was written: rich takes ``[words]`` for markup, and leaves them out."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from coord.cli.app import build


def commands(command: Any, names: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    yield " ".join(names), command
    for name, each in getattr(command, "commands", {}).items():
        yield from commands(each, (*names, name))


APP = build()
COMMANDS = dict(commands(get_command(APP)))


@pytest.mark.parametrize("name", COMMANDS)
def test_no_words_of_a_help_are_swallowed(name: str) -> None:
    command = COMMANDS[name]
    texts = [command.help or "", *(getattr(each, "help", None) or "" for each in command.params)]
    assert [text for text in texts if re.search(r"(?<!\\)\[[a-z/]", text)] == []


@pytest.mark.parametrize(
    ("words", "default"),
    [
        (["get"], "$COORD_ENDPOINTS, or 127.0.0.1:4711 to 4713"),
        (["serve"], "the client port + 10"),
        (["torture"], "./coord-torture/WORKLOAD-SEED"),
    ],
)
def test_defaults_are_shown(words: list[str], default: str) -> None:
    shown = CliRunner().invoke(APP, [*words, "--help"], env={"COLUMNS": "160", "TERMINAL_WIDTH": "160"})
    assert shown.exit_code == 0
    assert f"[default: ({default})]" in " ".join(shown.output.split())


def test_that_there_is_something_to_look_at() -> None:
    assert {"get", "serve", "torture"} <= set(COMMANDS)
