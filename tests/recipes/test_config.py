"""Config: typed, validated, followed, with a history."""

import dataclasses
import logging
from collections.abc import Callable

import anyio
import pytest
from pydantic import BaseModel, Field

from coord.client import (
    ChangeKind,
    Client,
    Conflict,
    Event,
    InvalidRequest,
    NotFound,
    Reason,
    SessionEnded,
    connect,
)
from coord.recipes.config import BadValue, Config, Live, Published
from coord.testing import Cluster
from tests.recipes.house import away, both, clients, run


class Limits(BaseModel):
    rate: int = Field(gt=0)
    burst: int = 10


@dataclasses.dataclass
class Plain:
    name: str


@both
def test_publish_and_read(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 1) as [client]:
            config = Config(client, "/a/limits", Limits)
            with pytest.raises(NotFound):
                await config.read()
            first = await config.publish(Limits(rate=1), version=-1)
            assert (first.value, first.version) == (Limits(rate=1), 0)
            assert await config.read() == first
            second = await config.publish({"rate": 2, "burst": 3})
            assert (second.value, second.version) == (Limits(rate=2, burst=3), 1)
            assert await config.read() == second
            assert second.revision > first.revision
            assert (await client.get("/a/limits")).value == b'{"rate":2,"burst":3}'
            assert await client.children("/a/limits") == []

    run(backend, main)


@both
def test_other_types(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 1) as [client]:
            plain = Config(client, "/plain", Plain)
            assert (await plain.publish(Plain("x"))).value == Plain("x")
            numbers = Config(client, "/numbers", dict[str, int], default={"a": 1})
            assert (await numbers.read()).value == {"a": 1}
            assert (await numbers.read()).version == -1
            assert (await numbers.publish({"b": 2}, version=-1)).value == {"b": 2}

    run(backend, main)


@both
def test_what_is_bad_is_not_published(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 1) as [client]:
            config = Config(client, "/limits", Limits)
            changed = Limits(rate=1)
            changed.rate = -5  # pydantic does not look again, unless it is asked to
            for wrong in (changed, {"rate": 0}, {}, 3, Plain("x"), Limits.model_construct(rate="x")):
                with pytest.raises(BadValue, match="is not published") as caught:
                    await config.publish(wrong)  # type: ignore[arg-type]
                assert caught.value.outcome == "refused"
                assert caught.value.details["problems"]
            assert await client.exists("/limits") is None

    run(backend, main)


@both
def test_compare_and_set(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 2) as several:
            config = Config(several[0], "/limits", Limits)
            await config.publish(Limits(rate=1))
            with pytest.raises(Conflict, match="it has version 0") as caught:
                await config.publish(Limits(rate=2), version=-1)
            assert caught.value.details["version"] == 0
            won: list[int] = []

            async def publish(client: Client, rate: int) -> None:
                try:
                    await Config(client, "/limits", Limits).publish(Limits(rate=rate), version=0)
                except Conflict:
                    return
                won.append(rate)

            async with anyio.create_task_group() as tasks:
                for rate in range(2, 12):
                    tasks.start_soon(publish, several[rate % 2], rate)
            assert [(await config.read()).value.rate] == won
            assert len(await config.history()) == 2

    run(backend, main)


@both
def test_history_is_bounded_and_leads_back(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 1) as [client]:
            config = Config(client, "/limits", Limits, keep=3)
            assert await config.history() == []
            revisions = [(await config.publish(Limits(rate=rate))).revision for rate in range(1, 6)]
            assert [former.revision for former in await config.history()] == revisions[-3:]
            back = await config.roll_back(revisions[2])
            assert (back.value.rate, back.version) == (3, 5)
            assert [former.data[:9] for former in await config.history()] == [
                b'{"rate":4', b'{"rate":5', b'{"rate":3'
            ]  # fmt: skip
            for gone in (revisions[0], 10**9):
                with pytest.raises(NotFound, match="nothing of revision"):
                    await config.roll_back(gone)
            with pytest.raises(Conflict):
                await config.roll_back(revisions[3], version=1)

            # Another program keeps fewer; and a model of today decides.
            class Stricter(BaseModel):
                rate: int = Field(gt=100)

            fewer = Config(client, "/limits", Stricter, keep=2)
            with pytest.raises(BadValue, match="rate: Input should be greater than 100"):
                await fewer.roll_back(back.revision)
            with pytest.raises(BadValue):
                await fewer.read()
            await fewer.publish({"rate": 200})
            assert len(await config.history()) == 2
            await Config(client, "/limits", Limits, keep=0).publish(Limits(rate=1))
            assert await config.history() == []

    run(backend, main)


@both
def test_a_history_that_is_not_full_loses_nothing_and_has_pages(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 1) as [client]:
            config = Config(client, "/text", str, keep=8)
            texts = [letter * 700_000 for letter in "abcdef"]  # a page has 2 MiB
            for text in texts:
                await config.publish(text)
            assert [former.data[1:2].decode() for former in await config.history()] == list("abcdef")

    run(backend, main)


@both
def test_many_publish_at_a_time(backend: str, member: Cluster) -> None:
    """Whoever had to try again is told the revision, and the version, of the try that succeeded."""

    async def main() -> None:
        async with clients(member, 2) as [one, two]:
            found: list[Published[Limits]] = []

            async def publish(config: Config[Limits], rate: int) -> None:
                found.append(await config.publish(Limits(rate=rate)))

            async with anyio.create_task_group() as tasks:
                for rate in range(1, 9):
                    config = Config((one, two)[rate % 2], "/limits", Limits)
                    tasks.start_soon(publish, config, rate)
            found.sort(key=lambda published: published.revision)
            assert [published.version for published in found] == list(range(8))
            history = await config.history()
            assert [former.revision for former in history] == [published.revision for published in found]
            assert [Limits.model_validate_json(former.data) for former in history] == [
                published.value for published in found
            ]

    run(backend, main)


@both
def test_it_is_followed(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 2) as [one, two]:
            config, other = (Config(client, "/limits", Limits) for client in (one, two))
            await config.publish(Limits(rate=1))
            seen: list[int] = []

            async def follow(live: Live[Limits]) -> None:
                async for published in live:
                    seen.append(published.value.rate)  # noqa: PERF401  it is looked at meanwhile

            async with config.watch() as live, anyio.create_task_group() as tasks:
                assert live.value == Limits(rate=1)
                tasks.start_soon(follow, live)
                for rate in range(2, 6):
                    published = await other.publish(Limits(rate=rate))
                    while live.published.revision < published.revision:
                        await anyio.sleep(0.001)
                assert live.published == published
                await anyio.sleep(0.01)
                tasks.cancel_scope.cancel()
            assert seen == [1, 2, 3, 4, 5]

            # One who comes late, or is slow, is told the latest; and the loop ends with the block.
            async with anyio.create_task_group() as tasks, config.watch() as live:
                tasks.start_soon(follow, live)
                await anyio.sleep(0.01)
            assert seen[5:] == [5]

    run(backend, main)


@both
def test_what_is_bad_in_the_tree_never_arrives(
    backend: str, member: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with clients(member, 1) as [client]:
            config = Config(client, "/limits", Limits)
            await config.publish(Limits(rate=1))
            async with config.watch() as live:
                seen = []
                for value in (b"not JSON", b'{"rate": 0}', b'{"rate": 7}', b'{"rate": "x"}', b""):
                    await client.set("/limits", value)
                    await anyio.sleep(0.02)
                    seen.append((live.value.rate, isinstance(live.error, BadValue)))
                assert seen == [(1, True), (1, True), (7, False), (7, True), (7, True)]
                with pytest.raises(BadValue):
                    await config.read()
                with pytest.raises(BadValue):
                    await config.watch().__aenter__()
                await client.delete("/limits")
                await anyio.sleep(0.02)
                assert isinstance(live.error, NotFound)
                assert live.value.rate == 7
                await config.publish(Limits(rate=8))
                await anyio.sleep(0.02)
                assert (live.value.rate, live.error, live.failure) == (8, None, None)

    with caplog.at_level(logging.ERROR, "coord.recipes"):
        run(backend, main)
    assert len([each for each in caplog.records if each.name == "coord.recipes"]) == 5
    assert "rate: Input should be greater than 0; the one of revision" in caplog.text


@both
def test_a_default(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 1) as [client]:
            with pytest.raises(NotFound):
                await Config(client, "/limits", Limits).watch().__aenter__()
            assert not list(client._core._watches)
            config = Config(client, "/limits", Limits, default=Limits(rate=5))
            async with config.watch() as live:
                assert (live.value.rate, live.published.version) == (5, -1)
                await config.publish(Limits(rate=6))
                await anyio.sleep(0.02)
                assert live.value.rate == 6
                await client.delete("/limits")
                await anyio.sleep(0.02)
                assert (live.value.rate, live.error) == (5, None)
                assert live.published.revision == client.revision  # that of the deletion

    run(backend, main)


@both
def test_what_is_read_after_a_gap(backend: str, member: Cluster) -> None:
    """It may be gone again, which is going to be told; and what is older than the value has been told."""

    async def main() -> None:
        async with clients(member, 1) as [client]:
            config = Config(client, "/limits", Limits)
            first = await config.publish(Limits(rate=1))
            await client.create("/other")
            missing = Config(client, "/missing", Limits, default=Limits(rate=3))
            async with config.watch() as live:

                async def gone(_: float) -> Published[Limits]:
                    raise NotFound("gone")

                read, live._read = live._read, gone
                await live._read_again()
                live._read = missing.watch()._read
                await live._read_again()
                assert live.published == first
                live._read = read

                second = await config.publish(Limits(rate=2))
                while live.published != second:
                    await anyio.sleep(0.001)
                late = Event(
                    ChangeKind.SET, "/limits", first.revision, b'{"rate": 1}', 0, 0, Reason.REQUEST, 0
                )
                live._tell(late)
                assert live.published == second

    run(backend, main)


@both
def test_the_session_ends_while_it_is_followed(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with connect(member.endpoints, session_timeout=0.3) as client:
            config = Config(client, "/session-ends", Limits)
            await config.publish(Limits(rate=1))
            async with config.watch() as live:
                values = aiter(live)
                await anext(values)
                member.pause()
                with pytest.raises(SessionEnded):
                    await anext(values)
                with pytest.raises(SessionEnded) as again:
                    await anext(values)
                assert isinstance(live.failure, SessionEnded)
                assert again.value is not live.failure  # which would grow with each
                assert live.value.rate == 1
                member.resume()

    try:
        run(backend, main)
    finally:
        member.resume()


@both
def test_what_cannot_be(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 1) as [client]:
            for path in ("x", "/", "/a/"):
                with pytest.raises(InvalidRequest, match="path"):
                    Config(client, path, Limits)
            for keep in (-1, 501, True):
                with pytest.raises(InvalidRequest):
                    Config(client, "/x", Limits, keep=keep)
            live = Config(client, "/x", Limits, default=Limits(rate=1)).watch()
            with pytest.raises(InvalidRequest, match="not open"):
                _ = live.value
            with pytest.raises(InvalidRequest, match="not open"):
                await anext(aiter(live))
            async with live:
                with pytest.raises(InvalidRequest, match="watched once"):
                    await live.__aenter__()

    run(backend, main)


@both
def test_a_gap_is_made_up_for(backend: str, coord_cluster_factory: Callable[..., Cluster]) -> None:
    """Away for longer than history reaches back: the value is the present one, by the revision that the history
    knows.
    """

    async def main() -> None:
        cluster = coord_cluster_factory(1, limits={"history_revisions": 5})
        async with clients(cluster, 2) as [one, two]:
            config, other = (Config(client, "/limits", Limits) for client in (one, two))
            await config.publish(Limits(rate=1))
            async with config.watch() as live:
                for last in (Limits(rate=99), None, Limits(rate=100)):
                    with away(one):
                        for rate in range(2, 12):
                            await other.publish(Limits(rate=rate))
                        if last is None:
                            await two.set("/limits", b"bad")
                        else:
                            published = await other.publish(last)
                        await two.create("/other", parents=True)
                        await two.delete("/other")
                    while live.error is None if last is None else live.value != last:
                        await anyio.sleep(0.005)
                    assert live.published == published
                    assert isinstance(live.error, BadValue) == (last is None)
                assert published.revision in [former.revision for former in await config.history()]

    run(backend, main)


@both
def test_models_and_versions_that_are_none(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with clients(member, 1) as [client]:
            with pytest.raises(InvalidRequest, match="a config's model is"):
                Config(client, "/c", 5)  # type: ignore[type-var, arg-type]
            config = Config(client, "/c", dict)
            for wrong in ("0", 1.5, True, -2):
                with pytest.raises(InvalidRequest, match="a version to publish"):
                    await config.publish({}, version=wrong)  # type: ignore[arg-type]
                with pytest.raises(InvalidRequest, match="a revision to roll back to"):
                    await config.roll_back(wrong)  # type: ignore[arg-type]
            assert (await config.publish({}, version=-1)).version == 0

    run(backend, main)
