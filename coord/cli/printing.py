"""How things look: tables and plain text for people, JSON for programs."""

import base64
import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from coord.api.results import Stat

VALUE_SHOWN = 60
"""Characters of a value in a table."""


class _Console(Console):
    """Rich's own ends the process with 1 when the reader of a pipe has gone (`coord status | true`)."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def print_json(value: Any) -> None:
    """One JSON document on one line: a program can read line by line."""
    typer.echo(json.dumps(value, ensure_ascii=False))


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], numbers: Sequence[str] = ()
) -> None:
    """A table; the columns in ``numbers`` are aligned to the right."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    # Into a pipe or a file nothing is folded: a line is a row.
    console = _Console() if sys.stdout.isatty() else _Console(width=10_000, highlight=False)
    console.print(table)


def value_fields(value: bytes | None) -> dict[str, str | None]:
    """A value in JSON: as text where it is text, else in base64 under another name."""
    if value is None:
        return {"value": None}
    try:
        return {"value": value.decode("utf-8")}
    except UnicodeDecodeError:
        return {"value_base64": base64.b64encode(value).decode("ascii")}


def short_value(value: bytes | None) -> str:
    """A value on one line."""
    if value is None:
        return ""
    text = value.decode("utf-8", "backslashreplace")
    shown = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text
    )
    return shown if len(shown) <= VALUE_SHOWN else f"{shown[: VALUE_SHOWN - 1]}…"


def wall_time(wall_ms: int) -> str:
    """The leader's wall clock, in the local time zone."""
    return datetime.fromtimestamp(wall_ms / 1000, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def stat_fields(stat: Stat) -> dict[str, object]:
    """A stat in JSON."""
    return {
        "created_revision": stat.created_revision,
        "modified_revision": stat.modified_revision,
        "children_revision": stat.children_revision,
        "version": stat.version,
        "children_version": stat.children_version,
        "owner": stat.owner,
        "created_ms": stat.created_ms,
        "modified_ms": stat.modified_ms,
        "data_length": stat.data_length,
        "child_count": stat.child_count,
        "kind": stat.kind.name.lower(),
        "ttl_ms": stat.ttl_ms,
    }
