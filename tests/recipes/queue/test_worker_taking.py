"""What a worker asks for, and what it does when that is refused. The client is a list of answers."""

from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest

from coord.client import NotFound
from coord.recipes.queue.layout import QueuePaths
from coord.recipes.queue.worker import taking
from coord.recipes.queue.worker.folders import Source
from coord.recipes.queue.worker.shop import Shop
from coord.recipes.queue.worker.taking import Taking

PATHS = QueuePaths("/tasks/test/queues", "default")
FOLDER = PATHS.folder("-")


class Service:
    """Refuses with these, one after the other; then whoever asks waits."""

    def __init__(self, *answers: NotFound) -> None:
        self.answers = list(answers)
        self.asked = 0
        self.waited = anyio.Event()

    async def claim_first(self, folder: str, count: int, *, waits: Any, **_: Any) -> list[Any]:
        self.asked += 1
        if self.answers:
            raise self.answers.pop()
        waits()
        self.waited.set()
        await anyio.sleep_forever()
        return []


async def asked(service: Service) -> bool:
    """Whether it waits in the end, without a pause."""
    made = Taking(cast(Shop, SimpleNamespace(client=service)), 5)
    made.folder_came(cast(Source, None), FOLDER, PATHS, "-")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(made.run, lambda: None)
        with anyio.move_on_after(0.05):
            await service.waited.wait()
        tasks.cancel_scope.cancel()
    return service.waited.is_set()


@pytest.mark.parametrize(("path", "at_once"), [(f"{FOLDER}/5-deleted", True), (FOLDER, False)])
def test_a_task_that_is_gone_before_it_is_read_makes_no_pause(
    path: str, at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody cancels it in this very moment. That its folder is gone is another matter."""
    monkeypatch.setattr(taking, "PAUSE_S", 60.0)

    async def main() -> None:
        service = Service(NotFound("no such znode", {"path": path}))
        assert await asked(service) is at_once
        assert service.asked == 1 + at_once

    anyio.run(main)
