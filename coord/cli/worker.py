"""``coord worker module:app``: worker processes, and the process that watches over them."""

import logging
import socket
import sys
from enum import StrEnum
from typing import Annotated

import trio
import typer

from coord.cli.options import EndpointsOption, endpoints_or_default
from coord.cli.supervising import Supervisor


class Backend(StrEnum):
    ASYNCIO = "asyncio"
    TRIO = "trio"


class Level(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


def worker(
    app: Annotated[str, typer.Argument(help="MODULE:APP, as in shop.tasks:app.", show_default=False)],
    queues: Annotated[str, typer.Option(help="Of the app, with commas between.")] = "default",
    concurrency: Annotated[
        int, typer.Option(min=1, max=10_000, help="Tasks at a time, in each process.")
    ] = 50,
    processes: Annotated[int, typer.Option(min=1, max=256, help="Worker processes.")] = 1,
    capabilities: Annotated[
        str, typer.Option(help="What it has of what tasks need, with commas between: gpu,region:eu.")
    ] = "",
    task_processes: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=256,
            help="Of each worker process: for tasks with where='process' (else one for each CPU).",
            show_default=False,
        ),
    ] = None,
    grace: Annotated[float, typer.Option(min=0, help="Seconds to finish what runs, when it stops.")] = 30.0,
    name: Annotated[
        str | None, typer.Option(help="Of this worker (else of its host and process).", show_default=False)
    ] = None,
    session_timeout: Annotated[
        float, typer.Option(min=0.1, help="Seconds of silence after which its tasks are others'.")
    ] = 10.0,
    drain: Annotated[bool, typer.Option("--drain", help="End when the queues are empty.")] = False,
    reload: Annotated[bool, typer.Option("--reload", help="Begin anew when a file has changed.")] = False,
    backend: Annotated[Backend, typer.Option(help="The event loop of async tasks.")] = Backend.ASYNCIO,
    log_level: Annotated[Level, typer.Option(help="What is logged, to stderr.")] = Level.INFO,
    endpoints: EndpointsOption = None,
    supervised: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run the tasks of an app.

    coord worker shop.tasks:app --queues mail,default --processes 4

    SIGTERM and SIGINT stop it: what runs is finished within --grace seconds,
    and else handed back, which does not count as an attempt. A second one
    hands it back at once. SIGHUP reloads: fresh processes load the code as it
    is now, and each old one stops when its follower works; where the new code
    can't be loaded, the old goes on. A process that dies is replaced.

    The exit code is 0 when it was told to stop, or when --drain has nothing
    left; 2: the app can't be loaded.
    """
    logging.basicConfig(
        level=log_level.upper(), format="%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"
    )
    if supervised is None:
        command = [
            sys.executable, "-m", "coord", "worker", app, "--queues", queues, "--concurrency", str(concurrency),
            "--capabilities", capabilities, "--grace", str(grace), "--session-timeout", str(session_timeout),
            "--backend", backend, "--log-level", log_level, "--endpoints", endpoints_or_default(endpoints),
        ]  # fmt: skip
        command += [] if task_processes is None else ["--task-processes", str(task_processes)]
        command += [] if name is None else ["--name", name]
        command += (["--drain"] if drain else []) + (["--reload"] if reload else [])
        named = processes > 1 and name is not None
        supervisor = Supervisor([*command, "--supervised"], processes, watch_files=reload, number_names=named)
        raise typer.Exit(trio.run(supervisor.run))
    options = {
        "queues": _names(queues),
        "concurrency": concurrency,
        "capabilities": _names(capabilities),
        "processes": task_processes,
        "grace": grace,
        **({} if name is None else {"name": name}),
    }

    # Here, and not above: the supervisor is to be small, and to know nothing of what it starts.
    from coord.cli.working import leave, work

    line = socket.socket(fileno=supervised)
    where = endpoints_or_default(endpoints)
    leave(work(app, where, session_timeout, options, drain, reload, backend, line))


def _names(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]
