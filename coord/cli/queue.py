"""``coord queue …``: to look at the queues of an app, and to steer them. What is done is in ``coord.recipes.queue``."""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import anyio
import typer

from coord.api.errors import DeadlineExceeded, InvalidRequest, NotFound
from coord.cli.options import EndpointsOption, JsonOption
from coord.cli.printing import print_json, print_table
from coord.cli.queue_printing import (
    TASK_COLUMNS,
    counting,
    print_task,
    queue_fields,
    queue_row,
    schedule_fields,
    schedule_row,
    task_fields,
    task_row,
    worker_fields,
    worker_rows,
)
from coord.cli.queue_top import watch_queues
from coord.cli.running import run
from coord.client import Client
from coord.recipes.queue.inspecting import Inspector, TaskFacts
from coord.recipes.queue.layout import Layout
from coord.recipes.queue.steering import Steering
from coord.recipes.queue.task import Status

APPS = "/tasks"

queue = typer.Typer(help="Tasks: look at queues, and steer them.", no_args_is_help=True)

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
    """Raises :class:`InvalidRequest` where it is not clear which app is meant."""
    if app is not None:
        return Layout(app if app.startswith("/") else f"{APPS}/{app}")
    try:
        names = await client.children(APPS)
    except NotFound:
        names = []
    if len(names) != 1:
        found = f"there are {', '.join(list(names)[:20])}" if names else f"there is none below {APPS}"
        raise InvalidRequest(f"which app? {found}; say it by --app")
    return Layout(f"{APPS}/{names[0]}")


def _run(command: Callable[[Client, Layout], Awaitable[Any]], app: str | None, endpoints: str | None) -> None:
    async def main(client: Client) -> None:
        await command(client, await layout_of(client, app))

    # With a session also where nothing is written: several reads of one revision are a multi, which wants one.
    run(main, endpoints, session=True)


# --- looking ---------------------------------------------------------------------------------------------------------


@queue.command("list")
def list_(
    seconds: Annotated[
        float | None,
        typer.Option("--rates", help="Measure for so many seconds how many come and go.", min=0.1),
    ] = None,
    app: AppOption = None,
    endpoints: EndpointsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the queues: how many tasks wait, run, have ended; the oldest; with --rates, how many come and go."""

    async def command(client: Client, layout: Layout) -> None:
        inspector = Inspector(client, layout)
        before, began = {}, 0.0
        if seconds is not None:
            before = {each.name: each for each in await inspector.queues()}
            began = anyio.current_time()
            await anyio.sleep(seconds)
        found = await inspector.queues()
        took = anyio.current_time() - began
        rates = {
            each.name: (
                (each.enqueued - before[each.name].enqueued) / took,
                (each.ended - before[each.name].ended) / took,
            )
            for each in found
            if each.name in before
        }
        if as_json:
            for each in found:
                print_json(queue_fields(each, rates.get(each.name)))
            return
        columns = [
            "queue",
            "waiting",
            "delayed",
            "blocked",
            "running",
            "done",
            "dead",
            "oldest",
            "enqueued",
            "ended",
        ]
        columns += ["in/s", "out/s"] if seconds is not None else []
        print_table(
            [*columns, ""],
            [
                queue_row(each, rates.get(each.name, (0.0, 0.0)) if seconds is not None else None)
                for each in found
            ],
            numbers=columns[1:],
        )

    _run(command, app, endpoints)


@queue.command()
def top(
    seconds: Annotated[float, typer.Option("--every", "-n", min=0.2, help="Seconds between looks.")] = 1.0,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many looks.")] = None,
    app: AppOption = None,
    endpoints: EndpointsOption = None,
) -> None:
    """Watch the queues and the workers, until Ctrl-C."""

    async def command(client: Client, layout: Layout) -> None:
        await watch_queues(Inspector(client, layout), layout.root, seconds, count)

    _run(command, app, endpoints)


@queue.command()
def tasks(
    name: QueueArgument,
    status: Annotated[Status | None, typer.Option("--status", "-s", help="Only these.")] = None,
    key: Annotated[
        str | None, typer.Option("--key", help="Only the one with this unique key, or idempotency key.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="So many at most.")] = 50,
    app: AppOption = None,
    endpoints: EndpointsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show tasks of a queue, first those that come first. Without --status: all that have not ended."""

    async def command(client: Client, layout: Layout) -> None:
        inspector = Inspector(client, layout)
        await inspector.queue(name)
        if key is not None:
            id = await inspector.holder_of(name, key)
            if id is None:
                raise NotFound(f"no task of the queue {name} has the key {key!r:.80}")
            found = [await inspector.find(id, name)]
        else:
            found = await inspector.tasks(name, limit=limit, status=status)
        _print_tasks(found, as_json)

    _run(command, app, endpoints)


@queue.command()
def show(
    id: IdArgument,
    name: InQueueOption = None,
    app: AppOption = None,
    endpoints: EndpointsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show all that is known of a task: how it stands, its arguments, its attempts and what they raised."""

    async def command(client: Client, layout: Layout) -> None:
        facts = await Inspector(client, layout).find(id, name)
        if as_json:
            print_json(task_fields(facts, whole=True))
        else:
            print_task(facts)

    _run(command, app, endpoints)


@queue.command()
def result(
    id: IdArgument,
    name: InQueueOption = None,
    wait: Annotated[float, typer.Option("--wait", min=0, help="Wait for it, so many seconds at most.")] = 0.0,
    app: AppOption = None,
    endpoints: EndpointsOption = None,
) -> None:
    """Print what a task returned, as JSON. Exit code 4: it has ended without a result; 5: it has not ended."""

    async def command(client: Client, layout: Layout) -> None:
        facts = await Inspector(client, layout).find(id, name)
        if facts.ended is None:
            if not wait:
                raise DeadlineExceeded(
                    f"the task {facts.id} has not ended: it is {facts.status}", outcome="refused"
                )
            ended = await Steering(client, layout).task(facts).wait(deadline=wait)
        else:
            ended = facts.ended
        if ended.succeeded:
            typer.echo(json.dumps(json.loads(ended.value), ensure_ascii=False))
            return
        message = ended.details.get("message")
        typer.echo(
            f"coord: the task {facts.id} is {ended.outcome}{f': {message}' if message else ''}", err=True
        )
        raise typer.Exit(4)

    _run(command, app, endpoints)


@queue.command()
def dead(
    name: QueueArgument,
    requeue: Annotated[bool, typer.Option("--requeue", help="Have them all run again.")] = False,
    forget: Annotated[bool, typer.Option("--forget", help="Delete them all.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="Show so many at most.")] = 50,
    app: AppOption = None,
    endpoints: EndpointsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a queue's dead letters: tasks that failed for good. Or run them all again, or delete them."""
    if requeue and forget:
        raise typer.BadParameter("--requeue or --forget, not both")
    if forget and not yes:
        typer.confirm(f"Delete all dead letters of the queue {name}?", abort=True)

    async def command(client: Client, layout: Layout) -> None:
        steering = Steering(client, layout)
        if requeue or forget:
            with counting(as_json) as told:
                do = steering.retry_dead if requeue else steering.forget_dead
                count = await do(name, told=told)
            _said(as_json, {"count": count}, f"{count} {'wait again' if requeue else 'deleted'}")
            return
        await Inspector(client, layout).queue(name)
        _print_tasks(await Inspector(client, layout).tasks(name, limit=limit, status=Status.FAILED), as_json)

    _run(command, app, endpoints)


@queue.command()
def workers(app: AppOption = None, endpoints: EndpointsOption = None, as_json: JsonOption = False) -> None:
    """Show the workers, and what each runs now."""

    async def command(client: Client, layout: Layout) -> None:
        roster = await Inspector(client, layout).workers()
        if as_json:
            for member in roster:
                print_json(worker_fields(member))
            return
        print_table(
            ("worker", "queues", "can", "runs", "of", "succeeded", "failed", "retried", "lost", "tasks"),
            worker_rows(roster),
            numbers=("runs", "of", "succeeded", "failed", "retried", "lost"),
        )

    _run(command, app, endpoints)


# --- steering --------------------------------------------------------------------------------------------------------


@queue.command()
def retry(
    id: IdArgument,
    name: InQueueOption = None,
    app: AppOption = None,
    endpoints: EndpointsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have a dead letter run again, or a delayed task at once."""

    async def command(client: Client, layout: Layout) -> None:
        facts = await Steering(client, layout).retry(id, name)
        _said(
            as_json,
            {"reference": facts.reference, "was": facts.status},
            f"{facts.reference} waits for a worker",
        )

    _run(command, app, endpoints)


@queue.command()
def cancel(
    id: IdArgument,
    name: InQueueOption = None,
    app: AppOption = None,
    endpoints: EndpointsOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a task that waits; have the worker of one that runs end it."""

    async def command(client: Client, layout: Layout) -> None:
        facts = await Steering(client, layout).cancel(id, name)
        runs = facts.status is Status.RUNNING
        words = "runs; its worker is told to end it" if runs else "is cancelled"
        _said(as_json, {"reference": facts.reference, "was": facts.status}, f"{facts.reference} {words}")

    _run(command, app, endpoints)


@queue.command()
def pause(name: QueueArgument, app: AppOption = None, endpoints: EndpointsOption = None) -> None:
    """Have no task of a queue begin. What runs, runs on; tasks are enqueued as before."""
    _run(lambda client, layout: Steering(client, layout).pause(name), app, endpoints)


@queue.command()
def resume(name: QueueArgument, app: AppOption = None, endpoints: EndpointsOption = None) -> None:
    """Go on after a pause."""
    _run(lambda client, layout: Steering(client, layout).resume(name), app, endpoints)


@queue.command()
def drain(
    name: QueueArgument,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is empty.")] = True,
    deadline: Annotated[float | None, typer.Option(min=0.1, help="Wait so many seconds at most.")] = None,
    app: AppOption = None,
    endpoints: EndpointsOption = None,
) -> None:
    """Take no more tasks, and wait until those that are there have ended. `coord queue open` is the contrary."""

    async def command(client: Client, layout: Layout) -> None:
        steering = Steering(client, layout)
        await steering.close(name)
        if wait:
            with counting(False, "left") as told:
                await steering.wait_empty(name, told=told, deadline=deadline or float("inf"))

    _run(command, app, endpoints)


@queue.command("open")
def open_(name: QueueArgument, app: AppOption = None, endpoints: EndpointsOption = None) -> None:
    """Take tasks again after a drain."""
    _run(lambda client, layout: Steering(client, layout).open(name), app, endpoints)


@queue.command()
def purge(
    name: QueueArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    app: AppOption = None,
    endpoints: EndpointsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cancel all tasks of a queue that wait."""
    if not yes:
        typer.confirm(f"Cancel all tasks that wait in the queue {name}?", abort=True)

    async def command(client: Client, layout: Layout) -> None:
        with counting(as_json) as told:
            count = await Steering(client, layout).purge(name, told=told)
        _said(as_json, {"count": count}, f"{count} cancelled")

    _run(command, app, endpoints)


@queue.command()
def schedules(
    pause: Annotated[
        str | None, typer.Option("--pause", metavar="NAME", help="Have it enqueue nothing.")
    ] = None,
    resume: Annotated[
        str | None, typer.Option("--resume", metavar="NAME", help="Go on with its next tick from now.")
    ] = None,
    remove: Annotated[
        str | None,
        typer.Option("--remove", metavar="NAME", help="Forget it, until a worker starts that has it."),
    ] = None,
    app: AppOption = None,
    endpoints: EndpointsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the schedules: when each is due, and what became of its ticks. Or pause, resume, remove one."""
    wanted = [each for each in (pause, resume, remove) if each is not None]
    if len(wanted) > 1:
        raise typer.BadParameter("one of --pause, --resume and --remove")

    async def command(client: Client, layout: Layout) -> None:
        steering = Steering(client, layout)
        if pause is not None:
            await steering.pause_schedule(pause)
        elif resume is not None:
            await steering.resume_schedule(resume)
        elif remove is not None:
            await steering.remove_schedule(remove)
        else:
            found = await Inspector(client, layout).schedules()
            if as_json:
                for each in found:
                    print_json(schedule_fields(each))
                return
            now_ms = datetime.now(UTC).timestamp() * 1000
            print_table(
                ("schedule", "when", "task", "queue", "next", "last", "enqueued", "passed over", "by", ""),
                [schedule_row(each, now_ms) for each in found],
                numbers=("enqueued", "passed over"),
            )

    _run(command, app, endpoints)


def _print_tasks(found: list[TaskFacts], as_json: bool) -> None:
    if as_json:
        for each in found:
            print_json(task_fields(each))
        return
    print_table(TASK_COLUMNS, [task_row(each) for each in found], numbers=("attempts",))


def _said(as_json: bool, fields: dict[str, object], words: str) -> None:
    if as_json:
        print_json(fields)
    else:
        typer.echo(words)
