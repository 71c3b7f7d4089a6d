"""A worker by hand: it claims, and carries out plans, one step at a time."""

from collections.abc import Sequence
from typing import Any

from coord.client import Client, Grant
from coord.recipes.queue import App
from coord.recipes.queue.ending import end, retry
from coord.recipes.queue.plan import Op, carry_out
from coord.recipes.queue.record import VERSION, Attempt, Ended, Failure, Outcome, decode_ended
from coord.recipes.queue.running import Running


class Hand:
    def __init__(self, client: Client, app: App) -> None:
        self.client = client
        self.app = app

    async def take(self, queue: str = "default", needs: str = "-") -> Running:
        """The next task."""
        running = await self.next(queue, needs)
        assert running is not None
        return running

    async def next(self, queue: str = "default", needs: str = "-") -> Running | None:
        """The next task, if one is free. What a revision lets go is free in it: nothing need be waited for."""
        taken = await self.take_grant(queue, needs)
        return None if taken is None else taken[1]

    async def take_grant(self, queue: str = "default", needs: str = "-") -> tuple[Grant, Running] | None:
        paths = self.app.layout.queue(queue)
        for grant in await self.client.claim_first(paths.folder(needs), wait=False, values=True):
            assert grant.value is not None
            id = grant.path.rsplit("/", 1)[1]
            return grant, Running.taken(
                paths, needs, id, grant.value, grant.number, grant.token.revision, grant.lost_before
            )
        return None

    async def nothing(self, queue: str = "default", needs: str = "-") -> bool:
        """Whether no task is free."""
        return not await self.client.claim_first(self.app.layout.queue(queue).folder(needs), wait=False)

    async def inputs(self, running: Running) -> list[Ended]:
        page = await self.client.list(running.paths.inputs(running.id), values=True)
        return [decode_ended(child.value or b"") for child in page.children]

    async def arguments(self, running: Running) -> dict[str, Any]:
        signature = self.app.tasks[running.record.task].signature
        inputs = [each.value for each in await self.inputs(running)] if running.record.after else []
        return dict(signature.decode(running.record.arguments, running.record.passes, inputs).arguments)

    async def complete(self, running: Running, value: bytes = b"null", once: Sequence[Op] = ()) -> Any:
        return await carry_out(self.client, end(running, ended(running, "succeeded", value), once))

    async def fail(self, running: Running, outcome: Outcome = "failed") -> Any:
        failure = Failure("ValueError", "bad", "Traceback: here") if outcome == "failed" else None
        return await carry_out(self.client, end(running, ended(running, outcome, failure=failure)))

    async def again(self, running: Running, delay_ms: int = 0) -> Any:
        attempt = Attempt(running.attempt, 1, 2, "w1", Failure("OSError", "no", "Traceback: there"))
        return await carry_out(self.client, retry(running, attempt, delay_ms))


def ended(
    running: Running, outcome: Outcome, value: bytes = b"null", failure: Failure | None = None
) -> Ended:
    record = running.record
    return Ended(
        VERSION,
        outcome,
        record.task,
        record.at_ms,
        2,
        3,
        running.attempt,
        "w1",
        failure=failure,
        value=value,
    )
