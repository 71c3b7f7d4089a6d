"""Commands on znodes."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from coord.api.errors import NotFound
from coord.api.ops import Kind
from coord.api.paths import join
from coord.api.results import Child, Stat
from coord.cli.exits import USAGE
from coord.cli.options import EndpointsOption, JsonOption, TokenOption, tokens
from coord.cli.printing import (
    print_json,
    print_table,
    short_value,
    stat_fields,
    value_fields,
    wall_time,
)
from coord.cli.running import run
from coord.client import Client

PathArgument = Annotated[str, typer.Argument(help="A path, such as /app/config.", show_default=False)]
ValueArgument = Annotated[
    str | None, typer.Argument(help="The value, as text; or give --file.", show_default=False)
]
FileOption = Annotated[
    str | None,
    typer.Option("--file", "-f", help="Take the value from this file, byte for byte; - is standard input."),
]
VersionOption = Annotated[int | None, typer.Option(help="Only if the znode has this version.")]
RevisionOption = Annotated[
    int | None, typer.Option(help="Only if the znode was last modified at this revision.")
]
AtLeastOption = Annotated[int | None, typer.Option(help="Read at any member, at this revision or later.")]
LocalOption = Annotated[
    bool, typer.Option("--local", help="Read what the member has: maybe stale, needs no quorum.")
]


def get(
    path: PathArgument,
    at_least: AtLeastOption = None,
    local: LocalOption = False,
    raw: Annotated[
        bool, typer.Option("--raw", help="The value and nothing else: no newline after it.")
    ] = False,
    endpoints: EndpointsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print a znode's value."""

    async def command(client: Client) -> None:
        znode = await client.get(path, at_least=at_least, local=local)
        if as_json:
            print_json({"path": path, **value_fields(znode.value), "stat": stat_fields(znode.stat)})
            return
        sys.stdout.buffer.write(znode.value if raw or znode.value.endswith(b"\n") else znode.value + b"\n")
        sys.stdout.buffer.flush()

    run(command, endpoints)


def set_(
    path: PathArgument,
    value: ValueArgument = None,
    file: FileOption = None,
    version: VersionOption = None,
    revision: RevisionOption = None,
    create: Annotated[bool, typer.Option("--create", help="Create it if it is not there.")] = False,
    parents: Annotated[
        bool, typer.Option("--parents", "-p", help="With --create: missing parents, too.")
    ] = False,
    token: TokenOption = None,
    endpoints: EndpointsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set a znode's value."""
    data, presented = _value(value, file), tokens(token)

    async def command(client: Client) -> None:
        written = await client.fenced(*presented).set(
            path, data, version=version, revision=revision, create=create, parents=parents
        )
        if as_json:
            print_json({"path": path, "version": written.version, "revision": written.revision})
        else:
            typer.echo(f"{path} is at version {written.version}, revision {written.revision}")

    run(command, endpoints, session=True)


def create(
    path: PathArgument,
    value: ValueArgument = None,
    file: FileOption = None,
    sequential: Annotated[
        bool, typer.Option("--sequential", "-s", help="Append the parent's next number.")
    ] = False,
    parents: Annotated[bool, typer.Option("--parents", "-p", help="Make missing parents, too.")] = False,
    container: Annotated[bool, typer.Option("--container", help="Deleted when its last child is.")] = False,
    ttl_ms: Annotated[
        int | None,
        typer.Option(help="Deleted when not set and childless for so long, in milliseconds.", min=1),
    ] = None,
    ephemeral: Annotated[
        bool,
        typer.Option(
            "--ephemeral", help="Stay, and hold it, until Ctrl-C: it goes with this command's session."
        ),
    ] = False,
    token: TokenOption = None,
    endpoints: EndpointsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a znode."""
    if sum((container, ttl_ms is not None, ephemeral)) > 1:
        typer.echo("coord create: --container, --ttl-ms and --ephemeral exclude one another", err=True)
        raise typer.Exit(USAGE)
    data, presented = _value(value, file) if value is not None or file is not None else b"", tokens(token)
    kind = (
        Kind.CONTAINER
        if container
        else Kind.TTL
        if ttl_ms
        else Kind.EPHEMERAL
        if ephemeral
        else Kind.PERSISTENT
    )

    async def command(client: Client) -> None:
        created = await client.fenced(*presented).create(
            path,
            data,
            kind=kind,
            sequential=sequential,
            parents=parents,
            ttl=None if ttl_ms is None else ttl_ms / 1000,
        )
        if as_json:
            print_json({"path": created.path, "revision": created.revision})
        else:
            typer.echo(f"created {created.path} at revision {created.revision}")
        if ephemeral:
            typer.echo(f"held by session {client.session_id} until Ctrl-C", err=True)
            await client.wait_ended()

    run(command, endpoints, session=True)


def delete(
    path: PathArgument,
    version: VersionOption = None,
    revision: RevisionOption = None,
    subtree: Annotated[bool, typer.Option("--subtree", "-r", help="With everything below it.")] = False,
    token: TokenOption = None,
    endpoints: EndpointsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete a znode, or a subtree."""
    presented = tokens(token)

    async def command(client: Client) -> None:
        holder = client.fenced(*presented)
        deleted = await holder.delete(path, version=version, revision=revision, subtree=subtree)
        if as_json:
            print_json({"path": path, "count": deleted.count, "revision": deleted.revision})
        else:
            what = "1 znode" if deleted.count == 1 else f"{deleted.count} znodes"
            typer.echo(f"deleted {what} at revision {deleted.revision}")

    run(command, endpoints, session=True)


def stat(
    path: PathArgument,
    at_least: AtLeastOption = None,
    local: LocalOption = False,
    endpoints: EndpointsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print a znode's facts: versions, revisions, times, owner."""

    async def command(client: Client) -> None:
        found = await client.exists(path, at_least=at_least, local=local)
        if found is None:
            raise NotFound(f"there is no znode {path!r}")
        if as_json:
            print_json({"path": path, **stat_fields(found)})
            return
        rows = [(name, _shown(name, value)) for name, value in stat_fields(found).items()]
        print_table(("field", "value"), rows)

    run(command, endpoints)


def ls(
    path: Annotated[str, typer.Argument(help="A path.")] = "/",
    long: Annotated[
        bool, typer.Option("--long", "-l", help="With kind, version, size, children, owner, time.")
    ] = False,
    recursive: Annotated[
        bool, typer.Option("--recursive", "-R", help="Everything below, as full paths.")
    ] = False,
    at_least: AtLeastOption = None,
    local: LocalOption = False,
    endpoints: EndpointsOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the children of a znode."""

    async def command(client: Client) -> None:
        rows: list[tuple[str, Stat]] = []
        pending = [path]
        while pending:
            above = pending.pop()
            below = []
            for child in await _children(client, above, at_least, local):
                if child.stat is None:
                    continue
                full = join(above, child.name)
                name = full if recursive else child.name
                if as_json:
                    print_json({"path": full, **stat_fields(child.stat)})
                elif long:
                    rows.append((name, child.stat))
                else:
                    typer.echo(name)
                if recursive and child.stat.child_count:
                    below.append(full)
            pending += reversed(below)
        if long and not as_json:
            print_table(
                ("name", "kind", "version", "bytes", "children", "owner", "modified"),
                [
                    (
                        name,
                        found.kind.name.lower(),
                        found.version,
                        found.data_length,
                        found.child_count,
                        found.owner or "",
                        wall_time(found.modified_ms),
                    )
                    for name, found in rows
                ],
                numbers=("version", "bytes", "children", "owner"),
            )

    run(command, endpoints)


def tree(
    path: Annotated[str, typer.Argument(help="A path.")] = "/",
    values: Annotated[bool, typer.Option("--values", "-v", help="With the values.")] = False,
    depth: Annotated[int, typer.Option(min=1, help="How deep.")] = 64,
    local: LocalOption = False,
    endpoints: EndpointsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw a subtree."""

    async def collect(client: Client, above: str, level: int) -> list[dict[str, object]]:
        """What is below, as in the drawing; where ``--depth`` ends there is a ``child_count``, and no ``children``."""
        found = []
        for child in await _children(client, above, None, local, values=values):
            full = join(above, child.name)
            row: dict[str, object] = {"path": full}
            if values:
                row |= value_fields(child.value)
            if child.stat is not None:
                row["stat"] = stat_fields(child.stat)
                if not child.stat.child_count:
                    row["children"] = []
                elif level < depth:
                    row["children"] = await collect(client, full, level + 1)
            found.append(row)
        return found

    async def draw(client: Client, above: str, indent: str, level: int) -> None:
        children = await _children(client, above, None, local, values=values)
        for position, child in enumerate(children):
            last = position == len(children) - 1
            shown = f" = {short_value(child.value)}" if child.value else ""
            mark = _mark(child.stat)
            typer.echo(f"{indent}{'└── ' if last else '├── '}{child.name}{mark}{shown}")
            if child.stat is not None and child.stat.child_count:
                deeper = indent + ("    " if last else "│   ")
                if level < depth:
                    await draw(client, join(above, child.name), deeper, level + 1)
                else:
                    typer.echo(f"{deeper}… {child.stat.child_count} more (--depth)")

    async def command(client: Client) -> None:
        top = await client.get(path, local=local)
        if as_json:
            own = value_fields(top.value) if values else {}
            below = await collect(client, path, 1)
            print_json({"path": path, **own, "stat": stat_fields(top.stat), "children": below})
            return
        typer.echo(path)
        await draw(client, path, "", 1)

    run(command, endpoints)


async def _children(
    client: Client, path: str, at_least: int | None, local: bool, *, values: bool = False
) -> list[Child]:
    """All children, page by page. One that goes meanwhile is missed, as if it had gone before."""
    found: list[Child] = []
    after: str | None = None
    while True:
        page = await client.list(path, values=values, stats=True, after=after, at_least=at_least, local=local)
        found += page.children
        if not page.more:
            return found
        after = page.children[-1].name


def _mark(stat: Stat | None) -> str:
    if stat is None or stat.kind is Kind.PERSISTENT:
        return ""
    if stat.kind is Kind.EPHEMERAL:
        return f" (ephemeral, session {stat.owner})"
    return f" ({stat.kind.name.lower()})"


def _shown(name: str, value: object) -> str:
    if name in ("created_ms", "modified_ms") and isinstance(value, int):
        return f"{value}  ({wall_time(value)})"
    return str(value)


def _value(value: str | None, file: str | None) -> bytes:
    """The value given as text or by file. Wrong usage ends the command."""
    if (value is None) == (file is None):
        typer.echo("coord: give the value as text, or --file (one of them)", err=True)
        raise typer.Exit(USAGE)
    if file is None:
        return (value or "").encode("utf-8", "surrogateescape")
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        typer.echo(f"coord: cannot read {file}: {error.strerror}", err=True)
        raise typer.Exit(USAGE) from None
