"""One client asks for thousands of expensive things at once. The others do not notice, and nobody is elected."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from coord.api.errors import OK
from coord.api.ops import CLAIMS, STATUS, Claim, Create, Get, Multi, Row, Set, WatchScope
from coord.wire.client_frames import Replies, encode_reads, encode_writes
from tests.processes import Cluster
from tests.rawclient import RawClient, close_all
from tests.server.test_kill import leader_of

pytestmark = pytest.mark.processes

ZNODES = 9_000
HOLDERS = 3
FRAME = 500
LISTINGS = 1_500
MULTIS = 250
GAP_S = 1.0
"""The longest that the others may wait, on a machine that runs other tests too. Alone it is 0.04 s for the listings,
0.2 s for the multis; it was as long as the whole flood."""


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    close_all()


def connected(port: int) -> RawClient:
    client = RawClient(port)
    client.socket.settimeout(120)
    client.hello(60_000)
    return client


def listing(number: int) -> bytes:
    """One row of the claims below a path: all that there are, are looked at."""
    row: Row = [CLAIMS, "/p", int(WatchScope.SUBTREE), None, None, 1]
    return encode_reads(0, 0, [(number, row)])


def multi(number: int) -> bytes:
    ops = tuple(Set(f"/p/{(1_000 * number + place) % ZNODES:04}", b"y") for place in range(1_000))
    return encode_writes(0, [(number, Multi((), ops).row())])


class Flood:
    """All at once, and whatever is answered is taken."""

    def __init__(self, port: int, frames: list[bytes]) -> None:
        self._client = connected(port)
        self._frames = frames
        self.answered = 0
        self.refused: list[tuple[object, ...]] = []
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._send, self._take)]
        for each in self._threads:
            each.start()

    def _send(self) -> None:
        for frame in self._frames:
            self._client.send(frame)

    def _take(self) -> None:
        while self.answered < len(self._frames):
            frame = self._client.frame()
            assert isinstance(frame, Replies), frame
            self.answered += len(frame.rows)
            self.refused += [row for row in frame.rows if row[1] != OK]

    @property
    def over(self) -> bool:
        return not any(each.is_alive() for each in self._threads)


@pytest.mark.parametrize("what", ["listings", "multis"])
def test_a_flood_disturbs_nobody(tmp_path: Path, what: str) -> None:
    frames = (
        [listing(number) for number in range(1, LISTINGS)]
        if what == "listings"
        else [multi(number) for number in range(1, MULTIS)]
    )
    with Cluster(tmp_path) as cluster:
        leader = leader_of(cluster)
        port = cluster.client_ports[leader]
        for holder in range(HOLDERS):
            client = connected(port)
            for begin in range(holder, ZNODES, HOLDERS * FRAME):
                paths = [
                    f"/p/{place:04}" for place in range(begin, min(begin + HOLDERS * FRAME, ZNODES), HOLDERS)
                ]
                client.write(*[Create(path, b"x", parents=True).row() for path in paths])
                if what == "listings":
                    client.write(*[Claim(path).row() for path in paths])
        here, elsewhere = connected(port), connected(cluster.client_ports[(leader + 1) % 3])
        here.write(Create("/mine").row())
        [(*_, before)] = here.read([STATUS], mode=2)
        flood = Flood(port, frames)
        waits_s: list[float] = []
        while not flood.over:
            for ask in (
                lambda: here.read(Get("/mine").row()),
                lambda: here.write(Set("/mine", b"x").row()),
                lambda: elsewhere.read(Get("/mine").row()),
            ):
                began = time.monotonic()
                [reply] = ask()
                waits_s.append(time.monotonic() - began)
                assert reply[1] == OK
        assert flood.answered == len(frames)
        assert not flood.refused
        assert max(waits_s) < GAP_S
        assert len(waits_s) > 15, "others were served meanwhile"
        [(*_, after)] = here.read([STATUS], mode=2)
        assert (after["term"], after["leader"]) == (before["term"], before["leader"])
