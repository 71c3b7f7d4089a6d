"""Hand-overs of one contended lock: ``python -m race.handoffs --connections 8 --endpoints …``

Each connection is a session that claims the same znode, gives it up as soon as it has it, and stands in line again,
both in one frame. Frames are written by hand, as in ``coord bench``: what is to be measured is the service
(``../handovers.py`` measures the client library). A hand-over is from the sending of the release until the next
connection's grant is decoded; one process, one clock.
"""

import argparse
import json
import select
import time
from collections.abc import Sequence

from coord.api.errors import OK
from coord.api.events import CLAIMED
from coord.api.ops import Claim, Release, Row, WatchScope
from coord.wire.client_frames import Events, Replies, Watch, encode_watch, encode_writes
from race.fanout import Connection

WARM_S = 1.0


class Contender:
    """One session. It has one claim, which waits or is held, and at most one more that it has given up."""

    def __init__(self, endpoint: str, path: str) -> None:
        self.connection = Connection(endpoint)
        self._path = path
        self._last_id = 0
        request = next(self.connection.ids)
        self.connection.socket.sendall(encode_watch(Watch(request, 1, "/", WatchScope.CLAIMS, None)))
        self.granted()

    def claim(self, release: int | None = None) -> None:
        """Stand in line, giving up the claim with this number."""
        rows: list[Row] = [] if release is None else [Release(release).row()]
        rows.append(Claim(self._path, wait=True, create=True, parents=True).row())
        # The grant, which came before this, came after the replies of all that was written before it.
        confirmed = self._last_id
        requests = [(next(self.connection.ids), row) for row in rows]
        self._last_id = requests[-1][0]
        self.connection.socket.sendall(encode_writes(confirmed, requests))

    def granted(self) -> int | None:
        """Wait for something to come: the number of the claim that was granted, if that was it."""
        number = None
        for frame in self.connection.frames():
            if isinstance(frame, Replies):
                for row in frame.rows:
                    if row[1] != OK:
                        raise SystemExit(f"a member refused a request: {row[4]}")
            elif isinstance(frame, Events):
                for group in frame.groups:
                    for change, _ in group.events:
                        if change[0] == CLAIMED:
                            number = change[5]
        return number


def hand_over(contenders: Sequence[Contender], seconds: float) -> list[float]:
    """How long each hand-over took, in seconds."""
    by_number = {contender.connection.fileno(): contender for contender in contenders}
    took: list[float] = []
    released_at: float | None = None
    begin = time.monotonic() + WARM_S
    end = begin + seconds
    with select.epoll() as poller:
        for number in by_number:
            poller.register(number, select.EPOLLIN)
        for contender in contenders:
            contender.claim()
        while time.monotonic() < end:
            for number, _ in poller.poll(1.0):
                contender = by_number[number]
                claim = contender.granted()
                if claim is None:
                    continue
                now = time.monotonic()
                if released_at is not None and begin <= now < end:
                    took.append(now - released_at)
                released_at = time.monotonic()
                contender.claim(release=claim)
    return took


def row(took: list[float], seconds: float) -> dict[str, float]:
    """The figures of a load; see ``loads.Figures``."""
    if not took:
        raise SystemExit("nobody was granted anything")
    found: dict[str, float] = {"done": len(took), "errors": 0, "rate_per_second": len(took) / seconds}
    took.sort()
    for name, share in (("p50_ms", 0.5), ("p99_ms", 0.99), ("p999_ms", 0.999)):
        found[name] = took[int(len(took) * share)] * 1000
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--endpoints", required=True)
    arguments = parser.parse_args()
    endpoints, path = arguments.endpoints.split(","), f"/bench/handoffs-{time.time_ns()}"
    contenders = [
        Contender(endpoints[number % len(endpoints)], path) for number in range(arguments.connections)
    ]
    print(json.dumps(row(hand_over(contenders, arguments.seconds), arguments.seconds)))


if __name__ == "__main__":
    main()
