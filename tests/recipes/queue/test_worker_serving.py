"""A worker that goes on: what its stop means while there is nobody to connect to."""

import anyio

from coord.client import Connecting, connect
from coord.recipes.queue import App
from coord.recipes.queue.worker.serving import Serving
from tests.processes import free_ports
from tests.recipes.house import both, run


@both
def test_one_that_is_stopped_while_it_connects_ends_at_once(backend: str) -> None:
    async def main() -> None:
        reached = anyio.Event()

        def connecting() -> Connecting:
            reached.set()
            return connect(f"127.0.0.1:{port}", deadline=60)

        serving = Serving(connecting, App("nothing"))
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(serving.run)
                await reached.wait()
                await anyio.wait_all_tasks_blocked()
                serving.stop()

    [port] = free_ports(1)
    run(backend, main)
