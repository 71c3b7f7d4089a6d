"""Sets at a given rate, whatever becomes of the answers: ``python -m race.paced --rate 10000 --endpoints …``

A closed loop asks less while the service stops, and so hides that it did. Here each request is due at its time, and its
latency counts from then. Frames are written by hand, as in ``coord bench``. Prints one line of JSON.
"""

import argparse
import json
import select
import time

from coord.api.errors import OK
from coord.api.ops import Set
from coord.wire.cbor import array_of, dumps
from coord.wire.client_frames import WRITES_FRAME, Replies
from coord.wire.framing import encode_raw_frame
from race.fanout import Connection

KEYS = 1_000
TICK_S = 0.002
WARM_S = 1.0
LATE_S = 30.0
"""No answer for so long: the service is not there any more."""


class Paced:
    """A connection and what it waits for: id -> when that was due."""

    def __init__(self, endpoint: str) -> None:
        self.connection = Connection(endpoint)
        self.due: dict[int, float] = {}
        self._last = 0

    def ask(self, ops: list[bytes], due: list[float]) -> None:
        confirmed = next(iter(self.due)) - 1 if self.due else self._last
        items = []
        for op, at in zip(ops, due, strict=True):
            self._last = next(self.connection.ids)
            self.due[self._last] = at
            items.append(b"\x82" + dumps(self._last) + op)
        self.connection.socket.sendall(encode_raw_frame(WRITES_FRAME, array_of([dumps(confirmed), *items])))

    def take(self) -> list[float]:
        """When what has been answered was due."""
        found = []
        for frame in self.connection.frames():
            if isinstance(frame, Replies):
                for row in frame.rows:
                    if row[1] != OK:
                        raise SystemExit(f"a member refused a set: {row[4]}")
                    if row[0] in self.due:  # else a reply that came twice, as it may
                        found.append(self.due.pop(row[0]))
        return found


def drive(connections: list[Paced], ops: list[bytes], rate: float, seconds: float) -> list[float]:
    """The latencies, in seconds, of what was due after the warming up."""
    by_number = {each.connection.fileno(): each for each in connections}
    took: list[float] = []
    asked = 0
    began = heard = time.monotonic()
    total = int(rate * (WARM_S + seconds))
    with select.epoll() as poller:
        for number in by_number:
            poller.register(number, select.EPOLLIN)
        while asked < total or any(each.due for each in connections):
            upto = min(int((time.monotonic() - began) * rate), total)
            if upto > asked:
                # To each connection its share, in one frame: so they would come from as many programs.
                for number, each in enumerate(connections):
                    mine = range(asked + number, upto, len(connections))
                    if mine:
                        each.ask([ops[at % len(ops)] for at in mine], [began + at / rate for at in mine])
                asked = upto
            for number, _ in poller.poll(TICK_S):
                answered = by_number[number].take()
                heard = time.monotonic()
                took += [heard - due for due in answered if due - began >= WARM_S]
            if time.monotonic() - heard > LATE_S:
                raise SystemExit(f"nothing was answered for {LATE_S:.0f} s")
    return took


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rate", type=float, required=True, help="sets a second, of all connections together"
    )
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--value-bytes", type=int, default=100)
    parser.add_argument("--endpoints", required=True)
    arguments = parser.parse_args()
    endpoints, value = arguments.endpoints.split(","), bytes(arguments.value_bytes)
    connections = [Paced(endpoints[number % len(endpoints)]) for number in range(arguments.connections)]
    paths = [f"/bench/{key}" for key in range(KEYS)]
    connections[0].connection.make(paths, value)
    ops = [dumps(Set(path, value).row()) for path in paths]
    took = sorted(drive(connections, ops, arguments.rate, arguments.seconds))
    row: dict[str, float] = {"done": len(took), "errors": 0, "rate_per_second": len(took) / arguments.seconds}
    for name, share in (("p50_ms", 0.5), ("p99_ms", 0.99), ("p999_ms", 0.999)):
        row[name] = took[int(len(took) * share)] * 1000
    print(json.dumps(row | {"longest_gap_ms": took[-1] * 1000}))


if __name__ == "__main__":
    main()
