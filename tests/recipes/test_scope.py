"""Blocks that are cancelled when what they stand on is gone."""

import anyio
import pytest

from coord.client import CoordError, NotFound, SessionEnded, connect
from coord.client.core.request import itself
from coord.recipes.scope import Lost, Scope
from coord.testing import Cluster
from tests.recipes.house import both, clients, fresh, run


class Block:
    """The least that stands on something."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    async def __aenter__(self) -> Scope:
        await self.scope.begin()
        return self.scope

    async def __aexit__(self, *arguments: object) -> bool:
        return await self.scope.end(*arguments)  # type: ignore[arg-type]


@both
def test_the_block_is_cancelled_and_says_why(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 1) as [client]:
            went_on = False

            async def block() -> None:
                nonlocal went_on
                async with Block(Scope(client, "the thing")) as scope:
                    scope.start(fail)
                    await anyio.sleep_forever()
                went_on = True

            async def fail() -> None:
                raise NotFound("it is gone", {"path": "/x"})

            with pytest.raises(Lost, match="the thing is lost: it is gone") as caught:
                await block()
            assert not went_on
            assert isinstance(caught.value.__cause__, NotFound)
            assert caught.value.details == {"path": "/x"}
            assert isinstance(caught.value, CoordError)

    run(backend, main)


@both
def test_one_that_ends_by_itself_just_then_is_lost_all_the_same(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 1) as [client]:

            async def block() -> None:
                async with Block(Scope(client, "the thing")) as scope:
                    scope.lose(NotFound("gone"))
                    scope.lose(NotFound("only the first reason counts"))

            with pytest.raises(Lost, match=r"gone$"):
                await block()

            async def raises() -> None:
                async with Block(Scope(client, "the thing")) as scope:
                    scope.lose(NotFound("gone"))
                    raise KeyError("mine")

            with pytest.raises(KeyError):
                await raises()

            async def raises_the_consequence() -> None:
                async with Block(Scope(client, "the thing")) as scope:
                    scope.lose(NotFound("gone"))
                    scope.check()

            with pytest.raises(Lost, match=r"gone$"):
                await raises_the_consequence()

    run(backend, main)


@both
def test_cancelled_from_outside(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 1) as [client]:
            for also_lost in (False, True):
                reached = False
                with anyio.CancelScope() as outer:
                    async with Block(Scope(client, "the thing")) as scope:
                        outer.cancel()
                        if also_lost:
                            scope.lose(NotFound("gone"))
                        await anyio.sleep_forever()
                    reached = True
                assert outer.cancelled_caught
                assert not reached
            await anyio.sleep(0)  # nothing of it is left

    run(backend, main)


@both
def test_blocks_in_blocks(backend: str, member: Cluster) -> None:
    """The outer one is lost: its own error comes out, and the inner one's block ends as by a cancellation."""

    async def main() -> None:
        async with clients(member, 1) as [client]:

            async def block(lose: str) -> None:
                async with Block(Scope(client, "outer")) as outer, Block(Scope(client, "inner")) as inner:
                    {"outer": outer, "inner": inner}[lose].lose(NotFound("gone"))
                    await anyio.sleep_forever()

            for lose in ("outer", "inner"):
                with pytest.raises(Lost, match=f"^{lose} is lost"):
                    await block(lose)

    run(backend, main)


@both
def test_the_sessions_end_in_whatever_words(backend: str, member: Cluster) -> None:
    """A call in the block that is told of the session's end first: the block's error is the same."""

    async def main() -> None:
        async with connect(member.endpoints, namespace=fresh()) as client:

            async def block() -> None:
                async with Block(Scope(client, "the thing")):
                    ending = client._core.end_session(context=client._link.waiter())
                    await client._link.finished(ending, itself)
                    await client.create("/a")

            with pytest.raises(Lost, match="the thing is lost") as caught:
                await block()
            assert isinstance(caught.value.__cause__, SessionEnded)

    run(backend, main)
