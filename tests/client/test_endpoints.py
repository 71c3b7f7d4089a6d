"""Endpoints: how they are written, and in which order they are tried."""

import socket
from random import Random

import anyio
import pytest

from coord.api.errors import InvalidRequest, Unavailable
from coord.client import State, connect
from coord.client.core import Core, CoreSettings
from coord.client.core.address import Address, parse_address
from coord.client.core.endpoints import Endpoint, Route, is_name, parse_endpoints
from coord.client.link import Link
from tests.client.house import both, house, run, running


def test_ways_to_write_them() -> None:
    assert parse_endpoints("a:1, b:2,") == [Endpoint("a", 1), Endpoint("b", 2)]
    assert parse_endpoints(["a:1", "b:2,a:1"]) == [Endpoint("a", 1), Endpoint("b", 2)]
    assert parse_endpoints("[::1]:4711") == [Endpoint("::1", 4711)]
    assert parse_endpoints("a, [::1],10.0.0.1") == [
        Endpoint("a", 4711),
        Endpoint("::1", 4711),
        Endpoint("10.0.0.1", 4711),
    ]
    assert str(Endpoint("::1", 4711)) == "[::1]:4711"


@pytest.mark.parametrize(
    "text",
    [
        "",
        ",",
        "a:",
        ":1",
        "a:0",
        "a:65536",
        "a:x",
        "a:²",
        "::1:5",
        "::1",
        "[a]:1",
        "[::1",
        "a b:1",
        "a b",
        "a/b",
        "http://a:1",
    ],
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(InvalidRequest):
        parse_endpoints(text)


def test_each_is_tried_once_at_once_and_then_after_growing_pauses() -> None:
    endpoints = parse_endpoints("a:1,b:1,c:1")
    route = Route(endpoints, Random(1))
    pauses = []
    for _ in range(10):
        tries = [route.next() for _ in range(3)]
        assert sorted(endpoint for endpoint, _ in tries) == endpoints
        assert [pause for _, pause in tries[1:]] == [0, 0]
        pauses.append(tries[0][1])
    assert pauses[0] == 0
    assert 0.025 <= pauses[1] <= 0.05
    assert 0.05 <= pauses[2] <= 0.1
    assert all(0.5 <= pause <= 1.0 for pause in pauses[7:])


def test_clients_spread_over_members() -> None:
    endpoints = parse_endpoints("a:1,b:1,c:1")
    firsts = [Route(endpoints, Random(seed)).next()[0] for seed in range(60)]
    assert all(firsts.count(endpoint) > 8 for endpoint in endpoints)


def test_the_one_that_was_lost_is_tried_last_and_at_once() -> None:
    route = Route(parse_endpoints("a:1,b:1,c:1"), Random(1))
    for _ in range(9):
        endpoint, _ = route.next()
    route.lost(endpoint, 60.0)
    tries = [route.next() for _ in range(3)]
    assert tries[-1] == (endpoint, 0.0)
    assert [pause for _, pause in tries] == [0, 0, 0]


def test_a_connection_that_was_short_does_not_begin_anew() -> None:
    route = Route(parse_endpoints("a:1"), Random(1))
    pauses = []
    for _ in range(10):
        endpoint, pause = route.next()
        pauses.append(pause)
        route.lost(endpoint, 0.01)
    assert pauses[-1] >= 0.5


def test_members_are_learned_and_the_users_own_stay() -> None:
    route = Route(parse_endpoints("a:1"), Random(1))
    route.learned(["a:1", "b:1", "", "nonsense"])
    assert str(route) == "a:1,b:1"
    route.learned(["c:1"])
    assert str(route) == "a:1,c:1"
    fixed = Route(parse_endpoints("a:1"), Random(1), discover=False)
    fixed.learned(["b:1"])
    assert str(fixed) == "a:1"


# --- names ---------------------------------------------------------------------------------------------


def hosts(route: Route, count: int) -> list[str]:
    return [route.next()[0].host for _ in range(count)]


def test_each_address_of_a_name_has_a_turn_of_its_own() -> None:
    route = Route(parse_endpoints("members.test:5"), Random(1))
    for _ in range(3):
        assert route.next()[0] == Endpoint("members.test", 5)
        route.resolved(["10.0.0.1", "10.0.0.2", "::1", "10.0.0.1"], 5)
        tries = [route.next() for _ in range(3)]
        assert sorted(tries) == [
            (Endpoint("10.0.0.1", 5), 0.0),
            (Endpoint("10.0.0.2", 5), 0.0),
            (Endpoint("::1", 5), 0.0),
        ]
    assert route.next()[1] > 0, "the name is looked up again in every round, after its pause"


def test_addresses_of_a_name_are_shuffled() -> None:
    firsts = []
    for seed in range(60):
        route = Route(parse_endpoints("members.test"), Random(seed))
        route.next()
        route.resolved(["10.0.0.1", "10.0.0.2", "10.0.0.3"], 4711)
        firsts.append(route.next()[0].host)
    assert all(firsts.count(f"10.0.0.{each}") > 8 for each in (1, 2, 3))


def test_an_address_that_several_names_share_has_one_turn_in_a_round() -> None:
    route = Route(parse_endpoints("one.test,two.test,10.0.0.1"), Random(1))
    tried = []
    while True:
        endpoint, pause = route.next()
        if pause:
            break
        tried.append(endpoint.host)
        if is_name(endpoint.host):
            route.resolved(["10.0.0.1", "10.0.0.2"], 4711)
    assert sorted(tried) == ["10.0.0.1", "10.0.0.2", "one.test", "two.test"]


def test_an_address_of_a_name_that_was_lost_is_tried_last() -> None:
    for seed in range(20):
        route = Route(parse_endpoints("members.test"), Random(seed))
        route.next()
        route.resolved(["10.0.0.1", "10.0.0.2", "10.0.0.3"], 4711)
        lost = route.next()[0]
        route.lost(lost, 60.0)
        assert route.next() == (Endpoint("members.test", 4711), 0.0)
        route.resolved(["10.0.0.1", "10.0.0.2", "10.0.0.3"], 4711)
        assert hosts(route, 3)[-1] == lost.host


def test_what_is_a_name() -> None:
    assert is_name("localhost")
    assert is_name("10.0.0.1.example")
    assert not is_name("10.0.0.1")
    assert not is_name("::1")


# --- URLs ----------------------------------------------------------------------------------------------


def test_a_url_says_everything() -> None:
    address = parse_address(
        "coord://a:1,[::1],10.0.0.1:3/app/one%20two?session_timeout=5&deadline=2.5&name=my+own&session=false"
        "&discover=false&at_least=17"
    )
    assert address == Address(
        [Endpoint("a", 1), Endpoint("::1", 4711), Endpoint("10.0.0.1", 3)],
        "/app/one two",
        session_timeout=5.0,
        deadline=2.5,
        name="my own",
        session=False,
        discover=False,
        at_least=17,
    )


@pytest.mark.parametrize("text", ["coord://a", "coord://a/", "a", " coord://a ", ["a"], ("a",), iter(["a"])])
def test_what_a_text_does_not_say_is_the_default(text: str) -> None:
    assert parse_address(text) == Address([Endpoint("a", 4711)])


def test_what_is_said_as_well_wins() -> None:
    address = parse_address("coord://a/app?deadline=5&session=false").but(deadline=7, session=True, name=None)
    assert (address.deadline, address.session, address.namespace) == (7, True, "/app")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("http://a:1", "coord://host:4711"),
        ("coord://", "no endpoints"),
        ("coord://user:secret@a:1", "no user"),
        ("coord://a:1/a//b", "empty name"),
        ("coord://a:1?colour=red", "there are session_timeout, deadline, name"),
        ("coord://a:1?deadline=soon", "deadline='soon'"),
        ("coord://a:1?deadline=1&deadline=2", "twice"),
        ("coord://a:1?session=maybe", "true or false"),
        ("coord://a:1?deadline", "name=value"),
        ("coord://a:1?at_least=x", "decimal"),
        (["coord://a:1", "b:1"], "is not an endpoint"),
    ],
)
def test_what_is_no_url(text: str, words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_address(text)
    assert words in caught.value.message
    assert "secret" not in caught.value.message


# --- over real sockets ---------------------------------------------------------------------------------


@both
def test_a_url_in_the_environment(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with house(2) as at:
            where = ",".join(at.endpoints)
            monkeypatch.setenv(
                "COORD_ENDPOINTS", f"coord://{where}/app?session_timeout=7&name=me&deadline=20"
            )
            async with connect() as client, connect(where, name="other") as other:
                assert client.session_timeout == 7.0
                await client.create("/a", b"inside", parents=True)
                assert (await other.get("/app/a")).value == b"inside"
                assert sorted(each.client for each in await other.sessions()) == ["me", "other"]
            async with connect(deadline=10, namespace="/", session_timeout=8) as client:
                assert client.session_timeout == 8.0
                assert (await client.get("/app/a")).value == b"inside"

    run(backend, main)


@both
def test_a_name_is_as_good_as_its_addresses(backend: str) -> None:
    """One of them is where nobody answers, one says goodbye at once; the third is good."""

    async def main() -> None:
        async with house(1, host="127.0.0.3") as at:
            (door,) = at.doors
            port = int(door.endpoint.rpartition(":")[2])
            asked = []

            async def resolve(name: str) -> list[str]:
                asked.append(name)
                return ["127.0.0.1", "127.0.0.2", "127.0.0.3"]

            core = Core(CoreSettings(session=False))
            route = Route([Endpoint("members.test", port)], Random(3), discover=False)
            async with running(Link(core, route, resolve=resolve)) as link:
                await link.begun()
                assert core.state is State.ATTACHED
                lookups = len(asked)
                await at.cut(door)
                while core.state is State.ATTACHED:
                    await link.state_change()
                while core.state is not State.ATTACHED:
                    await link.state_change()
                assert len(asked) > lookups, "where members come and go, the name service knows"

    run(backend, main)


@both
def test_a_name_that_does_not_resolve_is_named(backend: str) -> None:
    async def main() -> None:
        async def resolve(name: str) -> list[str]:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        core = Core(CoreSettings())
        route = Route([Endpoint("nowhere.test", 4711)], Random(3))
        async with running(Link(core, route, resolve=resolve)) as link:
            while link.trouble == "no answer yet":
                await anyio.sleep(0.001)
            assert link.trouble == "nowhere.test:4711: its name does not resolve: name or service not known"

    run(backend, main)


@both
def test_every_endpoint_that_failed_is_named(backend: str) -> None:
    async def main() -> None:
        with pytest.raises(Unavailable) as caught:
            async with connect("127.0.0.1:1,127.0.0.2:1,nowhere.invalid:1", deadline=0.5):
                raise AssertionError("not reached")
        for words in (
            "127.0.0.1:1: connection refused",
            "127.0.0.2:1: connection refused",
            "nowhere.invalid:1: its name",
        ):
            assert words in caught.value.message

    run(backend, main)
