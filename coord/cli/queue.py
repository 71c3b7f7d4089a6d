"""``coord queue …``: to look at the queues of an app, and to steer them. What is done is in ``coord.recipes.queue``."""

import typer

from coord.cli.queue_looking import list_, result, show, tasks, top, workers
from coord.cli.queue_steering import (
    cancel,
    dead,
    drain,
    open_,
    pause,
    purge,
    resume,
    retry,
    schedules,
)

queue = typer.Typer(help="Tasks: look at queues, and steer them.", no_args_is_help=True)

for command in (
    list_, top, tasks, show, result, dead, workers, retry, cancel, pause, resume, drain, open_, purge, schedules,
):  # fmt: skip
    queue.command(command.__name__.rstrip("_"))(command)
