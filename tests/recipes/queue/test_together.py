"""Several requests at once: their order, their bound, and their errors."""

import anyio
import pytest

from coord.client import Unavailable
from coord.recipes.queue.together import together


async def test_answers_are_in_order_and_no_more_are_asked_than_at_once() -> None:
    under_way, most = 0, 0

    async def ask(item: int) -> int:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await anyio.sleep(0.001 * (5 - item))
        under_way -= 1
        return item * item

    assert await together(ask, range(5), 2) == [0, 1, 4, 9, 16]
    assert most == 2
    assert await together(ask, [], 2) == []


async def test_an_error_comes_out_as_it_is_and_ends_the_others() -> None:
    cancelled = []

    async def ask(item: int) -> int:
        if item == 1:
            raise Unavailable("nobody is there")
        try:
            await anyio.sleep_forever()
        except BaseException:
            cancelled.append(item)
            raise
        return item

    with pytest.raises(Unavailable):
        await together(ask, range(4), 10)
    assert sorted(cancelled) == [0, 2, 3]
