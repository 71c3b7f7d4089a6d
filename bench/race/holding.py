"""Sessions and watches that do nothing: ``python -m race.holding --connections 100 --in-flight 100 --endpoints …``

Says ``held`` once they are, sends what keeps the sessions alive, and ends when its input does.
"""

import argparse
import selectors
import sys
import time

from coord.wire.client_frames import encode_keepalive
from race.fanout import TOP, Connection, open_watches

KEEPALIVE_S = 15.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--in-flight", type=int, default=0, help="watches of each connection")
    parser.add_argument("--endpoints", required=True)
    arguments = parser.parse_args()
    endpoints = arguments.endpoints.split(",")
    connections = [Connection(endpoints[number % len(endpoints)]) for number in range(arguments.connections)]
    each = arguments.in_flight
    paths = [[f"{TOP}/held-{number}-{at}" for at in range(each)] for number in range(len(connections))]
    open_watches(connections, paths)
    print("held", flush=True)
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin, selectors.EVENT_READ)
        for connection in connections:
            selector.register(connection, selectors.EVENT_READ, connection)
        due = time.monotonic() + KEEPALIVE_S
        while True:
            for key, _ in selector.select(max(due - time.monotonic(), 0)):
                if key.data is None:
                    return
                key.data.frames()
            if time.monotonic() >= due:
                due += KEEPALIVE_S
                for connection in connections:
                    connection.socket.sendall(encode_keepalive(next(connection.ids)))


if __name__ == "__main__":
    main()
