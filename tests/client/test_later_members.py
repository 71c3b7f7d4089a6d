"""A later member's answers have fields that this client does not know, at the end of whatever has a fixed number of
them (docs/PROTOCOL.md, 15). They are passed over.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

import anyio
import pytest

from coord.api.commands import Reply
from coord.api.errors import CoordError
from coord.api.ops import (
    CLAIM,
    CLAIM_FIRST,
    CLAIM_INFO,
    CLAIMS,
    EXISTS,
    GET,
    LIST,
    LOG,
    MULTI,
    SESSIONS,
    Lane,
)
from coord.client import Client, NotFound, State, connect, when
from coord.client.core import engine
from coord.client.core.requests import Requests
from coord.testing import Cluster, cluster
from coord.wire.cbor import dumps, loads
from coord.wire.client_frames import (
    EVENTS,
    GOODBYE,
    REPLIES,
    WATCH_ENDED,
    WELCOME,
    ServerFrame,
    decode_server_frame,
)
from coord.wire.framing import RawFrame
from tests.client.script import Script, refused

MORE: Final = {"field": "that is not known yet"}

Grow = Callable[[Any], Any]


def row(*parts: tuple[int, Grow]) -> Grow:
    """A row that has one more field, and whose ``parts``, by position, have grown, too."""

    def grow(value: Any) -> Any:
        if value is None:
            return None
        grown = list(value)
        for position, grow_part in parts:
            grown[position] = grow_part(grown[position])
        return [*grown, MORE]

    return grow


def each(grow: Grow) -> Grow:
    """A list of any number."""
    return lambda value: [grow(one) for one in value]


RESULTS: Final[dict[int, Grow]] = {
    GET: row((1, row())),
    EXISTS: row(),
    LIST: row((0, each(row((2, row()))))),
    MULTI: row(),
    LOG: row((1, each(row((3, each(row())))))),
    SESSIONS: row((0, each(row()))),
    CLAIM: row(),
    CLAIM_FIRST: row((1, each(row()))),
    CLAIMS: row((0, each(row()))),
    CLAIM_INFO: row((10, each(row())), (11, row())),
}
"""By the op's code. What is not here is no row."""

FRAMES: Final[dict[int, Grow]] = {
    WELCOME: row((7, each(row()))),
    REPLIES: each(row()),
    EVENTS: each(
        row((2, each(row((0, row()))))),
    ),
    WATCH_ENDED: row(),
    GOODBYE: row(),
}


def decode_grown(raw: RawFrame) -> ServerFrame:
    kind, body = raw
    return decode_server_frame((kind, dumps(FRAMES[kind](loads(body)))))


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a member says has grown when this process reads it."""
    answered = Requests.answered

    def answered_grown(self: Requests, reply: Reply, completed: list[Any]) -> bool | CoordError:
        request = self._waiting.get(reply[0])
        if request is not None and reply[1] == 0 and request.op[0] in RESULTS:
            head, result = reply[:4], reply[4]
            reply = (*head, RESULTS[request.op[0]](result))  # type: ignore[assignment]
        return answered(self, reply, completed)

    monkeypatch.setattr(engine, "decode_server_frame", decode_grown)
    monkeypatch.setattr(Requests, "answered", answered_grown)


@pytest.fixture(scope="module")
def member() -> Iterator[Cluster]:
    with cluster(1) as made:
        yield made


async def reads_and_writes(client: Client) -> None:
    await client.create("/a/b", b"value", parents=True)
    assert (await client.set("/a/b", b"more")).version == 1
    znode = await client.get("/a/b")
    assert (znode.value, znode.stat.version, znode.stat.ttl_ms) == (b"more", 1, 0)
    assert await client.exists("/a/b") == znode.stat
    (child,) = (await client.list("/a", values=True, stats=True)).children
    assert (child.name, child.value, child.stat) == ("b", b"more", znode.stat)
    done = await client.when(when.version("/a/b") == 1).then.set("/a/b", b"last").commit()
    assert (done.succeeded, len(done.results)) == (True, 1)
    assert [each.path for each in (await client.log("/a/b")).entries] == ["/a/b"] * 3
    assert [each.ephemeral_count for each in await client.sessions()] == [0]
    with pytest.raises(NotFound):
        await client.get("/nowhere")


async def claims(client: Client) -> None:
    grant = await client.claim("/locks/a")
    (found,) = (await client.claims("/locks")).claims
    assert (found.number, found.path, found.token, found.lost) == (grant.number, "/locks/a", grant.token, 0)
    await client.lanes("/locks/a", [Lane("smtp", width=5)])
    facts = await client.claim_info("/locks/a")
    assert (facts.holders, facts.lanes[0].width, facts.children.free) == (1, 5, 0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(client.claim, "/locks/a")  # waits, and is told by an event
        while not (await client.claim_info("/locks/a")).waiters:
            await anyio.sleep(0)
        await grant.release()
    await client.create("/queue/first", b"task", parents=True)
    (first,) = await client.claim_first("/queue", values=True)
    assert (first.path, first.value) == ("/queue/first", b"task")


async def watches(client: Client) -> None:
    await client.create("/w")
    async with client.watch("/w") as events:
        await client.set("/w", b"x")
        assert (await anext(events)).value == b"x"
    async with client.cache("/a") as cache:
        assert cache.get("/a/b").value == b"last"


@pytest.mark.usefixtures("later")
@pytest.mark.parametrize("backend", ["trio", "asyncio"])
def test_what_is_not_known_yet_is_passed_over(backend: str, member: Cluster) -> None:
    async def main() -> None:
        async with connect(member.endpoints, namespace=f"/{backend}", deadline=10) as client:
            for part in (reads_and_writes, claims, watches):
                await part(client)

    anyio.run(main, backend=backend)


@pytest.mark.usefixtures("later")
def test_also_in_errors_and_goodbyes() -> None:
    script = Script()
    script.connect()
    watch = script.core.watch("/a", 1)
    (opening,) = script.sent()
    script.replies((opening.request, 0, 5, 5, None))  # type: ignore[union-attr]
    script.watch_ended(watch.number, NotFound("gone"))
    assert isinstance(watch.error, NotFound)
    request = script.core.read([GET, "/a", None, None])
    (frame,) = script.sent()
    script.replies(refused(frame.requests[0][0], NotFound("no", {"path": "/a"})))  # type: ignore[union-attr]
    assert isinstance(request.error, NotFound)
    assert request.error.details == {"path": "/a"}
    script.goodbye(NotFound("of a kind that means nothing here"))
    assert script.core.state is State.ATTACHED
    assert isinstance(script.core.hang_up, NotFound)
