"""What a connection leaves behind. The collector is kept off what is old (coord/server/garbage.py), so nothing may
need it.
"""

import gc
import socket
import time
from collections import Counter

import coord.testing
from coord.server.clients import _Client
from coord.server.stream import Stream
from coord.wire.client_frames import Hello, NewSession, encode_end_session, encode_hello

CONNECTIONS = 50
WAIT_S = 10.0


def come_and_go(endpoint: str) -> None:
    host, _, port = endpoint.rpartition(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        connection.sendall(encode_hello(Hello(NewSession(5_000), "passing", None)))
        assert connection.recv(4096)
        connection.sendall(encode_end_session(1))
        assert connection.recv(4096)


def alive() -> Counter[type]:
    return Counter(type(each) for each in gc.get_objects() if type(each) in (_Client, Stream))


def test_a_connection_that_ended_needs_no_collector() -> None:
    with coord.testing.cluster(1) as cluster:
        come_and_go(cluster.endpoints[0])
        gc.collect()
        gc.disable()
        try:
            before = alive()
            for _ in range(CONNECTIONS):
                come_and_go(cluster.endpoints[0])
            until = time.monotonic() + WAIT_S
            while (left := alive() - before) and time.monotonic() < until:
                time.sleep(0.01)  # the member hears of the last hang-up when it does
            assert not left
        finally:
            gc.enable()
