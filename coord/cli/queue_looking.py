"""``coord queue …``: to look. What is done is in :mod:`coord.recipes.queue.inspecting`."""

import json
from typing import Annotated

import anyio
import typer

from coord.api.errors import DeadlineExceeded, NotFound
from coord.cli.options import EndpointsOption, JsonOption
from coord.cli.printing import print_json, print_table
from coord.cli.queue_common import AppOption, IdArgument, InQueueOption, QueueArgument, print_tasks, run_for
from coord.cli.queue_printing import (
    print_task,
    queue_fields,
    queue_row,
    task_fields,
    worker_fields,
    worker_rows,
)
from coord.cli.queue_top import watch_queues
from coord.client import Client
from coord.recipes.queue.inspecting import Inspector
from coord.recipes.queue.layout import Layout
from coord.recipes.queue.steering import Steering
from coord.recipes.queue.task import Status


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

    run_for(command, app, endpoints)


def top(
    seconds: Annotated[float, typer.Option("--every", "-n", min=0.2, help="Seconds between looks.")] = 1.0,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many looks.")] = None,
    app: AppOption = None,
    endpoints: EndpointsOption = None,
) -> None:
    """Watch the queues and the workers, until Ctrl-C."""

    async def command(client: Client, layout: Layout) -> None:
        await watch_queues(Inspector(client, layout), layout.root, seconds, count)

    run_for(command, app, endpoints)


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
        print_tasks(found, as_json)

    run_for(command, app, endpoints)


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

    run_for(command, app, endpoints)


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

    run_for(command, app, endpoints)


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

    run_for(command, app, endpoints)
