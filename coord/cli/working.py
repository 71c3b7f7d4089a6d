"""One worker process, as :mod:`coord.cli.supervising` starts it."""

import gc
import logging
import os
import signal
import socket
import sys
import threading
import traceback
from typing import Any, Final

import anyio
import anyio.abc
import typer

from coord.api.errors import CoordError, InvalidRequest
from coord.cli.exits import USAGE, exit_code
from coord.cli.running import CONNECT_DEADLINE_S
from coord.cli.supervising import say_ready
from coord.client import Connecting, connect
from coord.recipes.queue.app import App
from coord.recipes.queue.worker import WorkerStuck, loading
from coord.recipes.queue.worker.loading import BrokenModule, load
from coord.recipes.queue.worker.serving import Serving

log = logging.getLogger("coord.worker")

GC_THRESHOLD: Final = 10_000
STUCK: Final = 75
"""The exit code of a worker process that can do nothing more, and is to be replaced (EX_TEMPFAIL)."""


def work(
    spec: str,
    endpoints: str,
    session_timeout: float,
    options: dict[str, Any],
    drain: bool,
    reload: bool,
    backend: str,
    line: socket.socket,
) -> int:
    """One worker process; its exit code."""
    try:
        app = load(spec, App)
    except BrokenModule as error:
        cause = error.__cause__
        if cause is not None:
            traceback.print_exception(type(cause), cause, _users(cause.__traceback__))
        typer.echo(f"coord: {error.message}", err=True)
        return USAGE
    except InvalidRequest as error:
        typer.echo(f"coord: {error.message}", err=True)
        return USAGE
    # What was imported stays. And of what a task makes little is left when it has ended: to look for circles in it
    # after every 700 objects, as is the default, takes a tenth of the time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    failure: CoordError | None = None

    def connecting() -> Connecting:
        return connect(endpoints, session_timeout=session_timeout, deadline=CONNECT_DEADLINE_S)

    async def main() -> None:
        nonlocal failure
        serving = Serving(connecting, app, until_drained=drain, ready=lambda: _ready(line, reload), **options)
        async with anyio.create_task_group() as tasks:
            await tasks.start(_hear, serving)
            threading.Thread(target=_mind_the_supervisor, args=(line,), daemon=True).start()
            try:
                await serving.run()
            except CoordError as error:
                failure = error  # out of a group's hands it would come wrapped
            tasks.cancel_scope.cancel()

    anyio.run(main, backend=backend)
    if failure is None:
        return 0
    typer.echo(f"coord: {failure.message}", err=True)
    return STUCK if isinstance(failure, WorkerStuck) else exit_code(failure)


async def _hear(serving: Serving, *, task_status: anyio.abc.TaskStatus[None]) -> None:
    # A terminal tells all processes in its foreground of Ctrl-C, and of its end. Ours are for the supervisor, who tells
    # us what comes of it.
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        task_status.started()
        async for number in signals:
            if number == signal.SIGTERM:
                serving.stop()


def _ready(line: socket.socket, reload: bool) -> None:
    try:
        say_ready(line, reload)
    except OSError:
        log.warning("the supervisor is gone")  # which is heard by the thread below, too


def _mind_the_supervisor(line: socket.socket) -> None:
    """It says nothing; when it is gone, nobody would ever stop this process."""
    try:
        while line.recv(1):
            continue
    except OSError:
        log.debug("the line to the supervisor is broken")
    os.kill(os.getpid(), signal.SIGTERM)


def _users(frames: Any) -> Any:
    """A traceback from where the user's own code begins: of none, where it could not even be compiled."""
    found = frames
    while found is not None and (
        "importlib" in found.tb_frame.f_code.co_filename
        or found.tb_frame.f_code.co_filename == loading.__file__
    ):
        found = found.tb_next
    return found


def leave(code: int) -> None:
    """End this process, also where threads of tasks that were abandoned would keep it."""
    others = [
        each for each in threading.enumerate() if each is not threading.main_thread() and not each.daemon
    ]
    if others:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise typer.Exit(code)
