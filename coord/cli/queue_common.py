"""What the commands of ``coord queue`` share: which app is meant, and how things are said."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import typer

from coord.api.errors import InvalidRequest, NotFound
from coord.cli.printing import print_json, print_table
from coord.cli.queue_printing import TASK_COLUMNS, task_fields, task_row
from coord.cli.running import run
from coord.client import Client
from coord.recipes.queue.facts import TaskFacts
from coord.recipes.queue.layout import Layout

APPS = "/tasks"

AppOption = Annotated[
    str | None,
    typer.Option(
        "--app",
        "-a",
        envvar="COORD_APP",
        help="The app: its name, or its root where that is another than /tasks/NAME.",
        show_default="the only one there is",
    ),
]
QueueArgument = Annotated[str, typer.Argument(help="A queue.", show_default=False)]
InQueueOption = Annotated[str | None, typer.Option("--queue", "-q", help="Look in this queue only.")]
IdArgument = Annotated[str, typer.Argument(help="A task's id, or its reference.", show_default=False)]


async def layout_of(client: Client, app: str | None) -> Layout:
    """Raises :class:`InvalidRequest` where it is not clear which app is meant, :class:`NotFound` where it is none."""
    if app is not None:
        layout = Layout(app if app.startswith("/") else f"{APPS}/{app}")
        if await client.exists(layout.root) is None:
            raise NotFound(f"there is no app at {layout.root}; below {APPS} {_listed(await _apps(client))}")
        return layout
    names = await _apps(client)
    if len(names) != 1:
        raise InvalidRequest(f"which app? Below {APPS} {_listed(names)}; say it by --app")
    return Layout(f"{APPS}/{names[0]}")


async def _apps(client: Client) -> list[str]:
    try:
        return list(await client.children(APPS))
    except NotFound:
        return []


def _listed(names: list[str]) -> str:
    verb = "is" if len(names) <= 1 else "are"
    return f"there {verb} {', '.join(names[:20]) or 'none'}"


def run_for(
    command: Callable[[Client, Layout], Awaitable[Any]], app: str | None, endpoints: str | None
) -> None:
    async def main(client: Client) -> None:
        await command(client, await layout_of(client, app))

    # With a session also where nothing is written: several reads of one revision are a multi, which wants one.
    run(main, endpoints, session=True)


def print_tasks(found: list[TaskFacts], as_json: bool) -> None:
    if as_json:
        for each in found:
            print_json(task_fields(each))
        return
    print_table(TASK_COLUMNS, [task_row(each) for each in found], numbers=("attempts",))


def say(as_json: bool, fields: dict[str, object], words: str) -> None:
    if as_json:
        print_json(fields)
    else:
        typer.echo(words)
