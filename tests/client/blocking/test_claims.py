"""Claims and fences of plain threads."""

import pytest

from coord.api.errors import Claimed, NotHeld, StaleToken
from coord.client.blocking import DeadlineExceeded, connect
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
        client._withdraw_all([grant._grant])
        assert isinstance(grant.wait_over(), NotHeld)


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
