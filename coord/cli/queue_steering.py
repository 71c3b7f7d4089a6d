"""``coord queue …``: to steer. What is done is in :mod:`coord.recipes.queue.steering`."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from coord.cli.options import EndpointsOption, JsonOption
from coord.cli.printing import print_json, print_table
from coord.cli.queue_common import (
    AppOption,
    IdArgument,
    InQueueOption,
    QueueArgument,
    print_tasks,
    run_for,
    say,
)
from coord.cli.queue_printing import counting, schedule_fields, schedule_row
from coord.client import Client
from coord.recipes.queue.inspecting import Inspector
from coord.recipes.queue.layout import Layout
from coord.recipes.queue.steering import Steering
from coord.recipes.queue.task import Status


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
            say(as_json, {"count": count}, f"{count} {'wait again' if requeue else 'deleted'}")
            return
        await Inspector(client, layout).queue(name)
        print_tasks(await Inspector(client, layout).tasks(name, limit=limit, status=Status.FAILED), as_json)

    run_for(command, app, endpoints)


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
        say(
            as_json,
            {"reference": facts.reference, "was": facts.status},
            f"{facts.reference} waits for a worker",
        )

    run_for(command, app, endpoints)


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
        say(as_json, {"reference": facts.reference, "was": facts.status}, f"{facts.reference} {words}")

    run_for(command, app, endpoints)


def pause(
    name: QueueArgument,
    app: AppOption = None,
    endpoints: EndpointsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have no task of a queue begin. What runs, runs on; tasks are enqueued as before."""

    async def command(client: Client, layout: Layout) -> None:
        await Steering(client, layout).pause(name)
        say(as_json, {"queue": name, "paused": True}, f"{name} is paused")

    run_for(command, app, endpoints)


def resume(
    name: QueueArgument,
    app: AppOption = None,
    endpoints: EndpointsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Go on after a pause."""

    async def command(client: Client, layout: Layout) -> None:
        await Steering(client, layout).resume(name)
        say(as_json, {"queue": name, "paused": False}, f"{name} goes on")

    run_for(command, app, endpoints)


def drain(
    name: QueueArgument,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it is empty.")] = True,
    deadline: Annotated[float | None, typer.Option(min=0.1, help="Wait so many seconds at most.")] = None,
    app: AppOption = None,
    endpoints: EndpointsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take no more tasks, and wait until those that are there have ended. `coord queue open` is the contrary."""

    async def command(client: Client, layout: Layout) -> None:
        steering = Steering(client, layout)
        await steering.close(name)
        if wait:
            with counting(as_json, "left") as told:
                await steering.wait_empty(name, told=told, deadline=deadline or float("inf"))
        words = f"{name} is closed{' and empty' if wait else ''}"
        say(as_json, {"queue": name, "closed": True, "empty": True if wait else None}, words)

    run_for(command, app, endpoints)


def open_(
    name: QueueArgument,
    app: AppOption = None,
    endpoints: EndpointsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take tasks again after a drain."""

    async def command(client: Client, layout: Layout) -> None:
        await Steering(client, layout).open(name)
        say(as_json, {"queue": name, "closed": False}, f"{name} takes tasks")

    run_for(command, app, endpoints)


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
        say(as_json, {"count": count}, f"{count} cancelled")

    run_for(command, app, endpoints)


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
            say(as_json, {"schedule": pause, "paused": True}, f"{pause} is paused")
        elif resume is not None:
            await steering.resume_schedule(resume)
            say(as_json, {"schedule": resume, "paused": False}, f"{resume} goes on")
        elif remove is not None:
            await steering.remove_schedule(remove)
            say(as_json, {"schedule": remove, "removed": True}, f"{remove} is removed")
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

    run_for(command, app, endpoints)
