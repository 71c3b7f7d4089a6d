"""Claims and fences of plain threads."""

from threading import Event

import pytest

from coord.api.errors import Claimed, NotHeld, StaleToken
from coord.client import Client as AsyncClient
from coord.client.blocking import DeadlineExceeded, Grant, InvalidRequest, connect
from coord.client.blocking.portal import Portal
from tests.client.blocking.home import ctrl_c, home, threads, until


def test_a_claim_is_held_and_handed_on() -> None:
    with home() as at, connect(at.endpoints) as client, connect(at.endpoints) as other:
        with client.claim("/locks/a", label=b"me") as grant:
            assert (grant.path, grant.held, grant.token.incarnation) == ("/locks/a", True, 1)
            assert 0 < grant.remaining() <= 10
            grant.check()
            with pytest.raises(Claimed):
                other.claim("/locks/a", wait=False)
            with pytest.raises(DeadlineExceeded):
                other.claim("/locks/a", deadline=0.05)
            # What was not granted in time is given back, soon.
            until(lambda: [each.label for each in client.claims("/locks").claims] == [b"me"])
            assert client.claim_info("/locks/a").holders == 1

            later = []

            def wait(_: int) -> None:
                with other.claim("/locks/a") as next_grant:
                    later.append(next_grant.token)

            with threads(1, wait):
                until(lambda: client.claim_info("/locks/a").waiters)
                grant.release()
            assert later[0].revision > grant.token.revision
        assert not grant.held
        assert isinstance(grant.wait_over(), NotHeld)
        assert not client.claims("/locks").claims


def test_ctrl_c_gives_a_claim_back() -> None:
    with home() as at, connect(at.endpoints) as client, connect(at.endpoints) as other:
        with client.claim("/locks/a"):
            with ctrl_c(lambda: client.claim_info("/locks/a").waiters):
                other.claim("/locks/a")
            until(lambda: not client.claim_info("/locks/a").waiters)
        other.claim("/locks/a", deadline=10).release()


def test_what_came_of_a_claim_that_nobody_waits_for_is_given_back() -> None:
    with home() as at, connect(at.endpoints) as client:
        grant = client.claim("/locks/a")
        client._loop.look(lambda: client._withdraw_all([grant._grant]))
        assert isinstance(grant.wait_over(), NotHeld)


def test_a_grant_is_given_up_without_waiting() -> None:
    with home() as at, connect(at.endpoints) as client:
        grant = client.claim("/locks/a")
        grant.release_nowait()
        over = grant.wait_over()
        assert isinstance(over, NotHeld)
        assert grant.over is over
        grant.release_nowait()
        grant.release()
    grant.release_nowait()
    grant.release()  # also when the client is closed: it is over already


def test_what_is_made_for_tasks_serves_threads_by_a_portal() -> None:
    async def written(client: AsyncClient) -> int:
        return (await client.create("/a", b"1", ephemeral=True)).revision

    with home() as at, connect(at.endpoints, deadline=7) as client:
        portal = Portal(client)
        assert portal.seconds(None) == client.deadline == portal.client.deadline == 7
        assert portal.run(lambda: written(portal.client), 5) == portal.look(lambda: portal.client.revision)
        grant = Grant(portal, portal.run(lambda: portal.client.claim("/locks/a")))
        assert grant.held
        handed = Event()
        portal.hand(handed.set)
        assert handed.wait(10)
        with pytest.raises(
            InvalidRequest, match=r"of coord\.client\.blocking, not to coord\.client\.client\.Client"
        ):
            Portal(portal.client)  # type: ignore[arg-type]


def test_a_fence_refuses_who_has_no_token() -> None:
    with home() as at, connect(at.endpoints) as client:
        client.create("/data")
        for number in range(3):
            client.create(f"/jobs/{number}", b"%d" % number, parents=True)
        with client.claim("/locks/a") as grant:
            client.fence("/data", "/locks/a")
            client.fenced(grant).set("/data", b"mine")
            with pytest.raises(StaleToken):
                client.set("/data", b"anybody's")
        with pytest.raises(StaleToken):
            client.fenced(grant.token).set("/data", b"late")
        grants = client.claim_first("/jobs", 2, values=True)
        assert [(each.path, each.value) for each in grants] == [("/jobs/0", b"0"), ("/jobs/1", b"1")]
        client.release(grants[0].number)
        assert isinstance(grants[0].wait_over(), NotHeld)
