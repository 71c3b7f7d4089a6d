"""Commands that look at the service: its members, its changes, its sessions."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import typer

from coord.api.events import ChangeKind, Event, Reason
from coord.cli.asking import Found, ask_members
from coord.cli.exits import UNAVAILABLE, USAGE
from coord.cli.options import EndpointsOption, JsonOption
from coord.cli.printing import print_json, print_table, short_value, value_fields, wall_time
from coord.cli.running import run, run_plain
from coord.client import Client

STATUS_DEADLINE_S = 2.0


def status(endpoints: EndpointsOption = None, as_json: JsonOption = False) -> None:
    """Show the members: role, term, commit and applied index, lag, sessions, znodes. Works without a quorum."""

    async def main() -> None:
        found = await ask_members(endpoints, STATUS_DEADLINE_S)
        rows = [{"address": address, **_outcome(found[address])} for address in _in_order(found)]
        leaders = [row for row in rows if row.get("role") == "leader"]
        newest = max((row["last_index"] for row in leaders), default=None)
        if as_json:
            print_json(rows)
        else:
            _show_status(rows, newest)
        if not leaders:
            typer.echo("no leader was found among the members that answer", err=True)
            raise typer.Exit(UNAVAILABLE)

    run_plain(main)


def _outcome(row: Mapping[str, Any] | str) -> Mapping[str, Any]:
    return {"error": row} if isinstance(row, str) else row


def _in_order(found: Found) -> list[str]:
    def key(address: str) -> tuple[bool, int, str]:
        row = found[address]
        return (isinstance(row, str), 0 if isinstance(row, str) else row["member"], address)

    return sorted(found, key=key)


def _show_status(rows: list[dict[str, Any]], newest: int | None) -> None:
    columns = (
        "member",
        "address",
        "role",
        "term",
        "commit",
        "applied",
        "lag",
        "revision",
        "sessions",
        "clients",
        "znodes",
    )
    cells = []
    for row in rows:
        if "error" in row:
            cells.append(("?", row["address"], f"unreachable: {row['error']}", *[""] * 8))
            continue
        lag = "" if newest is None else max(newest - row["applied_index"], 0)
        cells.append(
            (
                row["member"],
                row["address"],
                row["role"],
                row["term"],
                row["commit_index"],
                row["applied_index"],
                lag,
                row["revision"],
                row["sessions"],
                row["connections"],
                row["znodes"],
            )
        )
    print_table(
        columns,
        cells,
        numbers=("term", "commit", "applied", "lag", "revision", "sessions", "clients", "znodes"),
    )


def watch(
    path: Annotated[str, typer.Argument(help="A path.", show_default=False)],
    children: Annotated[bool, typer.Option("--children", help="Each direct child.")] = False,
    subtree: Annotated[bool, typer.Option("--subtree", "-r", help="The znode and everything below.")] = False,
    from_revision: Annotated[
        int | None, typer.Option(min=1, help="Begin in the past, as far as history goes.")
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many events.")] = None,
    endpoints: EndpointsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show changes as they happen, until Ctrl-C."""
    if children and subtree:
        typer.echo("coord watch: --children and --subtree exclude one another", err=True)
        raise typer.Exit(USAGE)
    scope: Literal["znode", "children", "subtree"] = (
        "subtree" if subtree else "children" if children else "znode"
    )

    async def command(client: Client) -> None:
        left = count
        async with client.watch(path, scope, from_revision, on_gap="raise") as events:
            async for event in events:
                _print_event(event, as_json)
                if left is not None:
                    left -= 1
                    if not left:
                        return

    run(command, endpoints)


def _print_event(event: Event, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "revision": event.revision,
                "kind": event.kind.name.lower(),
                "path": event.path,
                **value_fields(event.value),
                "version": event.version,
                "session": event.session,
                "request": event.request,
                "reason": event.reason.name.lower(),
                "wall_ms": event.wall_ms,
            }
        )
        return
    shown = f" = {short_value(event.value)}" if event.value else ""
    why = "" if event.reason is Reason.REQUEST else f" ({event.reason.name.lower().replace('_', ' ')})"
    typer.echo(f"{event.revision:>8}  {event.kind.name.lower():<8} {event.path}{shown}{why}")


def log(
    path: Annotated[str, typer.Argument(help="Only changes here and below.")] = "/",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many revisions back.")] = 50,
    from_revision: Annotated[int | None, typer.Option(min=1, help="Begin at this revision instead.")] = None,
    endpoints: EndpointsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show recent changes: revision, time, session, reason."""

    async def command(client: Client) -> None:
        entries = await client.log(path, limit=limit, from_revision=from_revision)
        if as_json:
            for entry in entries:
                print_json(
                    {
                        "revision": entry.revision,
                        "log_index": entry.log_index,
                        "wall_ms": entry.wall_ms,
                        "kind": entry.kind.name.lower(),
                        "path": entry.path,
                        **value_fields(entry.value),
                        "version": entry.version,
                        "session": entry.session,
                        "request": entry.request,
                        "reason": entry.reason.name.lower(),
                    }
                )
            return
        print_table(
            ("revision", "time", "change", "path", "value", "session", "reason"),
            [
                (
                    entry.revision,
                    wall_time(entry.wall_ms),
                    ChangeKind(entry.kind).name.lower(),
                    entry.path,
                    short_value(entry.value),
                    entry.session or "",
                    entry.reason.name.lower().replace("_", " "),
                )
                for entry in entries
            ],
            numbers=("revision", "session"),
        )

    run(command, endpoints)


def sessions(endpoints: EndpointsOption = None, as_json: JsonOption = False) -> None:
    """Show the sessions that live, with their ephemerals."""

    async def command(client: Client) -> None:
        found = await client.sessions()
        if as_json:
            for each in found:
                print_json(
                    {
                        "session": each.session,
                        "client": each.client,
                        "timeout_ms": each.timeout_ms,
                        "opened_ms": each.opened_ms,
                        "ephemeral_count": each.ephemeral_count,
                        "ephemerals": list(each.ephemerals),
                    }
                )
            return
        print_table(
            ("session", "client", "timeout", "opened", "ephemerals"),
            [
                (
                    each.session,
                    each.client,
                    f"{each.timeout_ms / 1000:g} s",
                    wall_time(each.opened_ms),
                    ", ".join(each.ephemerals[:5])
                    + (f" … {each.ephemeral_count}" if each.ephemeral_count > 5 else ""),
                )
                for each in found
            ],
            numbers=("session",),
        )

    run(command, endpoints)
