"""A multi in steps, on both backends."""

import pytest

from coord.client import (
    Client,
    Conflict,
    Created,
    Deleted,
    Exists,
    InvalidRequest,
    Page,
    Stat,
    Written,
    Znode,
    connect,
    when,
)
from tests.client.house import both, house, run


@both
def test_it_does_what_it_reads_like(backend: str) -> None:
    async def main() -> None:
        async with house() as at, connect(at.endpoints) as client:
            await client.create("/app/a", b"1", parents=True)
            app = client.namespace("/app")
            await same_for(app)

    async def same_for(app: Client) -> None:
        written = (
            app.when(when.version("/a") == 0, when.missing("/b"))
            .then.set("/a", b"2", version=0)
            .create("/b", b"x", ephemeral=True)
            .create("/c/n-", sequential=True, parents=True)
            .delete("/b")
            .get("/a")
            .exists("/nope")
            .exists("/")
            .list("/", limit=1)
            .otherwise.get("/a")
        )
        first = await written.commit()
        assert first.succeeded
        types = [Written, Created, Created, Deleted, Znode, type(None), Stat, Page]
        assert [type(each) for each in first.results] == types
        assert [each.path for each in first.results if isinstance(each, Created)] == ["/b", "/c/n-0000000000"]
        second = await written.commit()  # it is a description; sent again, it is asked again
        assert not second.succeeded
        (znode,) = second.results
        assert isinstance(znode, Znode)
        assert (znode.path, znode.value, znode.revision) == ("/a", b"2", first.revision)

    run(backend, main)


@both
def test_branches_in_any_order_and_in_loops(backend: str) -> None:
    async def main() -> None:
        async with house() as at, connect(at.endpoints) as client:
            branch = client.when().otherwise.delete("/").then
            for number in range(100):
                branch.create(f"/{number:02}", ttl=60.0)
            result = await branch.otherwise.then.create("/x").commit()
            assert result.succeeded
            assert len(await client.children("/")) == len(result.results) == 101
            assert result.revision == 1
            assert (await client.when(when.children_revision("/") <= 1).commit()).succeeded

    run(backend, main)


@both
def test_one_refused_op_refuses_all(backend: str) -> None:
    async def main() -> None:
        async with house() as at, connect(at.endpoints) as client:
            await client.create("/a")
            with pytest.raises(Exists) as caught:
                await client.namespace("/a").when().then.create("/b").create("/b").commit()
            assert caught.value.details == {"path": "/b", "position": 1}
            with pytest.raises(Conflict):
                await client.when().then.create("/b").set("/a", b"", version=3).commit()
            with pytest.raises(Conflict):
                await client.when().then.delete("/a", revision=9).commit()
            assert await client.children("/") == ["a"]
            assert await client.children("/a") == []

    run(backend, main)


@both
def test_what_is_no_condition_is_told_at_once(backend: str) -> None:
    async def main() -> None:
        async with house() as at, connect(at.endpoints) as client:
            for wrong in (True, when.version("/a"), "/a", None, [when.missing("/a")]):
                with pytest.raises(InvalidRequest, match="is not a condition"):
                    client.when(wrong)  # type: ignore[arg-type]
            with pytest.raises(InvalidRequest):
                client.when().then.create("/a", ttl=1.0, ephemeral=True)
            with pytest.raises(InvalidRequest):
                await client.when(when.exists("a")).then.get("/a").commit()

    run(backend, main)
