"""Sessions and watches that do nothing: ``python -m race.holding coord|zookeeper --connections 100 --endpoints …``

Says ``held`` once they are, sends what keeps the sessions alive, and ends when its input does. (etcd's are held by
``peers/load.go``.)
"""

import argparse
import selectors
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

from coord.wire.client_frames import encode_keepalive
from race.fanout import Connection, Watching
from race.zookeeper_frames import PING, ZooKeeperConnection

KEEPALIVE_S = 10.0
"""As a client does whose session has a timeout of 30 s, with any of the three."""
OPENED_AT_ONCE = 64
TICK_S = 0.02


class Kept(Watching, Protocol):
    def keep_alive(self) -> None: ...


class Coord(Connection):
    def keep_alive(self) -> None:
        self.socket.sendall(encode_keepalive(next(self.ids)))


class ZooKeeper(ZooKeeperConnection):
    def keep_alive(self) -> None:
        self.socket.sendall(PING)


def hold(connections: Sequence[Kept]) -> None:
    """Until the input ends. The keepalives are spread, as those of so many programs would be."""
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin, selectors.EVENT_READ)
        for connection in connections:
            selector.register(connection, selectors.EVENT_READ, connection)
        began = time.monotonic()
        sent = 0
        while True:
            for key, _ in selector.select(TICK_S):
                if key.data is None:
                    return
                key.data.delivered()
            due = int((time.monotonic() - began) / KEEPALIVE_S * len(connections))
            for number in range(sent, due):
                connections[number % len(connections)].keep_alive()
            sent = due


def opened(connect: Callable[[str], Kept], endpoints: list[str], count: int) -> list[Kept]:
    """Some at a time: what a cluster can write down together it need not write down one by one."""
    with ThreadPoolExecutor(OPENED_AT_ONCE) as threads:
        return list(threads.map(lambda number: connect(endpoints[number % len(endpoints)]), range(count)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("system", choices=("coord", "zookeeper"))
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--in-flight", type=int, default=0, help="watches of each connection")
    parser.add_argument("--endpoints", required=True)
    arguments = parser.parse_args()
    endpoints, count = arguments.endpoints.split(","), arguments.connections
    connections = opened(Coord if arguments.system == "coord" else ZooKeeper, endpoints, count)
    if arguments.in_flight:
        for number, connection in enumerate(connections):
            connection.open_watches([f"/held/{number}-{at}" for at in range(arguments.in_flight)])
    print("held", flush=True)
    try:
        hold(connections)
    except OSError as error:
        raise SystemExit(f"a member closed the connection: {error.strerror}") from error


if __name__ == "__main__":
    main()
