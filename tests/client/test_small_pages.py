"""Members that grant smaller pages (``limits.list_page``) than this client asks for of itself."""

from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from coord.api.errors import LimitExceeded
from coord.api.ops import List, ReadMode, Row
from coord.cli.app import build
from coord.client.blocking import Client, connect
from coord.client.core.arguments import PAGE
from coord.recipes.blocking.config import Config
from coord.recipes.blocking.election import Election
from coord.testing import Cluster, cluster
from coord.wire.client_frames import Reads
from tests.client.script import Script, ok, refused

NAMES = [f"n{number:02}" for number in range(23)]


def too_large(maximum: object, limit: str = "list_page") -> LimitExceeded:
    return LimitExceeded("a page of so many", {"limit": limit, "maximum": maximum})


def asked(script: Script) -> tuple[int, Row]:
    [frame] = script.sent()
    assert isinstance(frame, Reads)
    [(number, op)] = frame.requests
    return number, op


def reading(op: Row) -> tuple[Script, Any, int]:
    script = Script()
    script.connect()
    request = script.core.read(op, ReadMode.LOCAL)
    return script, request, asked(script)[0]


def test_a_page_that_is_refused_is_asked_for_as_small_as_it_is_granted() -> None:
    given = List("/a", after="b").row()
    script, request, number = reading(given)
    assert script.replies(refused(number, too_large(7))) == []
    again, op = asked(script)
    assert again > number
    assert op == List("/a", after="b", limit=7).row()
    assert given == List("/a", after="b").row()  # the caller's own is left alone
    assert script.replies(ok(again, result=[[], False])) == [request]
    assert request.error is None
    # From then on it is known; what is smaller stays, and so does what is larger than a client asks for of itself.
    for limit, sent in ((PAGE, 7), (8, 7), (6, 6), (PAGE + 1, PAGE + 1)):
        script.core.read(List("/a", limit=limit).row(), ReadMode.LOCAL)
        assert asked(script)[1] == List("/a", limit=sent).row()


def test_another_member_may_grant_less_still() -> None:
    script, _, number = reading(List("/a").row())
    for maximum in (7, 3):
        assert script.replies(refused(number, too_large(maximum))) == []
        number, op = asked(script)
        assert op == List("/a", limit=maximum).row()


@pytest.mark.parametrize("maximum", [PAGE, PAGE + 1, 0, -1, None, True, "7"])
def test_what_makes_no_page_smaller_is_told(maximum: object) -> None:
    """Else a member that contradicts itself is asked for ever."""
    script, request, number = reading(List("/a").row())
    assert script.replies(refused(number, too_large(maximum))) == [request]
    assert isinstance(request.error, LimitExceeded)


def test_a_limit_that_somebody_asked_for_is_told_to_him() -> None:
    script, request, number = reading(List("/a", limit=PAGE + 1).row())
    assert script.replies(refused(number, too_large(7))) == [request]
    assert isinstance(request.error, LimitExceeded)


def test_who_has_given_up_is_not_asked_for_again() -> None:
    script, request, number = reading(List("/a").row())
    script.core.abandon(request)
    assert script.replies(refused(number, too_large(7))) == []
    assert script.sent() == []


@pytest.fixture(scope="module")
def made() -> Iterator[Cluster]:
    with cluster(1, limits={"list_page": 7}) as member:
        yield member


@pytest.fixture
def client(made: Cluster) -> Iterator[Client]:
    with connect(made.endpoints) as client:
        yield client


def test_all_that_goes_page_by_page(client: Client) -> None:
    for name in NAMES:
        client.create(f"/all/{name}", b"x", parents=True)
    assert client.children("/all") == NAMES
    page = client.list("/all")
    assert ([child.name for child in page.children], page.more) == (NAMES[:7], True)
    with client.cache("/all") as cache:
        assert cache.children("/all") == NAMES
    with client.transaction() as transaction:
        assert transaction.children("/all") == NAMES
    assert client.sessions().sessions


def test_claims_and_the_recipes(made: Cluster, client: Client) -> None:
    config = Config(client, "/config/one", int)
    for number in range(9):
        config.publish(number)
    assert len(config.history()) == 9
    with Election(client, "/lead", b"me").lead():
        assert Election(client, "/lead").candidates() == ()
    for name in NAMES:
        client.claim(f"/claims/{name}", create=True)
    found = CliRunner().invoke(build(), ["claims", "/claims"], env={"COORD_ENDPOINTS": made.endpoints[0]})
    assert [found.output.count(f"/claims/{name}") for name in NAMES] == [1] * len(NAMES)


def test_the_commands(made: Cluster, client: Client) -> None:
    for name in NAMES:
        client.create(f"/listed/{name}", b"x", parents=True)
    for command in ("ls", "tree"):
        shown = CliRunner().invoke(build(), [command, "/listed"], env={"COORD_ENDPOINTS": made.endpoints[0]})
        assert shown.exit_code == 0, shown.output
        assert [shown.output.count(name) for name in NAMES] == [1] * len(NAMES)
