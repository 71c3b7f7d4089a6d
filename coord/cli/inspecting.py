"""Offline commands on a data folder: they read, never repair, and mind neither damage nor a running member."""

import sys
from collections.abc import Sequence
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from coord.cli.exits import FAILED, STORAGE
from coord.cli.options import JsonOption
from coord.cli.printing import print_json, print_table
from coord.disk.errors import StorageError
from coord.disk.inspect import FolderRow, inspect_folder, inspect_snapshots, inspect_wal
from coord.disk.real import RealFileSystem

FolderArgument = Annotated[Path, typer.Argument(help="A member's data folder.")]

PROBLEM = "problem"


def wal(
    folder: FolderArgument = Path("coord-data"),
    last: Annotated[
        int | None, typer.Option("--last", "-n", min=1, help="Only the last so many records.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the records of a member's write-ahead log. Exit code 1 when something in it is damaged."""
    columns = ("file", "offset", "length", "kind", "index", "term", "vote", "synced_through", PROBLEM)
    with closing(_open(folder)) as filesystem:
        owner = inspect_folder(filesystem)
        rows = [asdict(row) for row in inspect_wal(filesystem)]
    _show(columns, rows if last is None else rows[-last:], owner, as_json)
    _end(rows, owner)


def snapshot(folder: FolderArgument = Path("coord-data"), as_json: JsonOption = False) -> None:
    """Show a member's snapshots, each read and checked whole. Exit code 1 when one is damaged."""
    columns = ("file", "size", "index", "term", "voters", "sections", "content_bytes", "digest", PROBLEM)
    with closing(_open(folder)) as filesystem:
        owner = inspect_folder(filesystem)
        rows = []
        for row in inspect_snapshots(filesystem):
            meta = row.meta
            rows.append(
                {
                    "file": row.file,
                    "size": row.size,
                    "index": meta.index if meta else None,
                    "term": meta.term if meta else None,
                    "voters": list(meta.configuration.voters) if meta else None,
                    "sections": row.sections,
                    "content_bytes": row.content_bytes,
                    "digest": row.digest,
                    PROBLEM: row.problem,
                }
            )
    _show(columns, rows, owner, as_json)
    _end(rows, owner)


def _open(folder: Path) -> RealFileSystem:
    try:
        return RealFileSystem(folder)
    except StorageError as error:
        typer.echo(f"coord: {error}", err=True)
        raise typer.Exit(STORAGE) from None


def _show(columns: Sequence[str], rows: list[dict[str, object]], owner: FolderRow, as_json: bool) -> None:
    # `coord wal | head`: the reader has what it wanted; the exit code still tells of damage.
    with suppress(BrokenPipeError):
        _print(columns, rows, owner, as_json)
        sys.stdout.flush()


def _print(columns: Sequence[str], rows: list[dict[str, object]], owner: FolderRow, as_json: bool) -> None:
    if as_json:
        for row in rows:
            print_json(row)
        return
    state = owner.state
    if state is not None:
        identity = state.identity
        cluster = identity.cluster_id.hex() if identity.cluster_id else "not formed yet"
        typer.echo(f"member {identity.member_id}, cluster {cluster}")
    shown = [[_cell(column, row[column]) for column in columns] for row in rows]
    numbers = [column for column in columns if column not in ("file", "kind", "digest", PROBLEM, "voters")]
    print_table(columns, shown, numbers=numbers)


def _cell(column: str, value: object) -> str:
    if column == "digest" and isinstance(value, str):
        return value[:16]
    return "" if value is None else str(value)


def _end(rows: list[dict[str, object]], owner: FolderRow) -> None:
    if owner.problem:
        typer.echo(f"{owner.file}: {owner.problem}", err=True)
    bad = sum(1 for row in rows if row[PROBLEM])
    if bad:
        typer.echo(f"{bad} of {len(rows)} rows have a problem", err=True)
    if bad or owner.problem:
        raise typer.Exit(FAILED)
