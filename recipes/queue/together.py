"""Several requests under way at once."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import anyio

from coord.client import CoordError

T = TypeVar("T")
R = TypeVar("R")


async def together(ask: Callable[[T], Awaitable[R]], items: Sequence[T], at_once: int) -> list[R]:
    """The answer for each of ``items``, in their order; ``at_once`` are asked for at a time.

    The first :class:`CoordError` ends the others, and comes out as it is: out of a group's hands it would come
    wrapped, and who writes ``except Unavailable`` would not see it.
    """
    answers: dict[int, R] = {}
    failure: CoordError | None = None
    limiter = anyio.CapacityLimiter(at_once)
    async with anyio.create_task_group() as group:

        async def one(position: int, item: T) -> None:
            nonlocal failure
            async with limiter:
                try:
                    answers[position] = await ask(item)
                except CoordError as error:
                    failure = failure or error
                    group.cancel_scope.cancel()

        for position, item in enumerate(items):
            group.start_soon(one, position, item)
    if failure is not None:
        raise failure
    return [answers[position] for position in range(len(items))]
