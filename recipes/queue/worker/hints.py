"""What a worker says about itself when it begins. Pure.

A worker of the wrong queue, or without a capability, is not wrong, and nothing ever happens in it: whoever has just
started one by mistake would wait, and wonder.
"""

from collections.abc import Collection, Sequence

from coord.recipes.queue.app import App


def hints(app: App, queues: Sequence[str], capabilities: Collection[str]) -> list[str]:
    """A line for each thing that this worker may not have been meant to leave out."""
    said = []
    used = {task.options.queue for task in app.tasks.values()}
    if not used:
        said.append(f"the app {app.name} has no tasks: are the modules imported that define them?")
    elif unused := [queue for queue in queues if queue not in used]:
        said.append(
            f"no task of the app {app.name} is of the queue {', '.join(unused)}, unless a call says so; "
            f"they are of {', '.join(sorted(used))}"
        )
    for task in app.tasks.values():
        missing = sorted(set(task.options.needs) - set(capabilities))
        if task.options.queue in queues and missing:
            said.append(f"{task.name} is left to others: it needs {', '.join(missing)}")
    return said
