"""Endpoints: how they are written, and in which order they are tried."""

from random import Random

import pytest

from coord.api.errors import InvalidRequest
from coord.client.endpoints import Endpoint, Route, parse_endpoints


def test_ways_to_write_them() -> None:
    assert parse_endpoints("a:1, b:2,") == [Endpoint("a", 1), Endpoint("b", 2)]
    assert parse_endpoints(["a:1", "b:2,a:1"]) == [Endpoint("a", 1), Endpoint("b", 2)]
    assert parse_endpoints("[::1]:4711") == [Endpoint("::1", 4711)]
    assert str(Endpoint("::1", 4711)) == "[::1]:4711"


@pytest.mark.parametrize(
    "text",
    ["", ",", "a", "a:", ":1", "a:0", "a:65536", "a:x", "a:²", "::1:5", "[a]:1", "a b:1", "http://a:1"],
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
