"""Whatever comes over a socket gets a clear answer, and costs nobody else anything."""

import random
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from coord.api.errors import InvalidRequest, LimitExceeded, NotFound, ProtocolError, SessionRequired
from coord.api.ops import GET, LIST, SET, Create, Get, Set
from coord.limits import CLIENT_FRAME_MAX_BYTES, MIB
from coord.wire.cbor import dumps
from coord.wire.client_frames import (
    HELLO,
    PROTOCOL_VERSION,
    READS_FRAME,
    WRITES_FRAME,
    Goodbye,
    encode_keepalive,
    encode_reads,
)
from tests.processes import Member, free_ports
from tests.rawclient import RawClient, close_all, raw_frame

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """One member for the whole module: what one test did to it must not hurt the next."""
    [port] = free_ports(1)
    folder: Path = tmp_path_factory.mktemp("bad-input")
    config = folder / "coord.toml"
    config.write_text("[limits]\nhandshake_ms = 300\nconnections = 300\noutbox_bytes = 4194304\n")
    data = folder / "data"
    member = Member(["--config", str(config), "--data", str(data), "--listen", f"127.0.0.1:{port}"])
    member.start().wait_serving()
    bystander = RawClient(port)
    RawClient.opened.remove(bystander)  # it outlives the tests
    bystander.hello(60_000)
    bystander.write(Create("/bystander", b"0").row())
    yield port
    assert bystander.write(Set("/bystander", b"1").row())[0][1] == 0
    bystander.close()
    assert member.stop() == 0
    assert "Traceback" not in member.stderr


@pytest.fixture(autouse=True)
def _close() -> Iterator[None]:
    yield
    close_all()


HELLO_BODY = dumps([PROTOCOL_VERSION, None, 10_000, "x", None])


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "a frame of"),
        (b"\x00\x00\x00\x00", "a frame of 0 bytes"),
        (b"\xff\xff\xff\xff\x01", "a frame of 4294967295 bytes"),
        ((CLIENT_FRAME_MAX_BYTES + 1).to_bytes(4, "big"), "at most"),
        (raw_frame(99, b"\x80"), "type 99"),
        (raw_frame(HELLO, b""), "CBOR"),
        (raw_frame(HELLO, b"\xff\xff"), "CBOR"),
        (raw_frame(HELLO, b"\xc1\x00"), "CBOR"),
        (raw_frame(HELLO, b"\x9f\xff"), "CBOR"),
        (raw_frame(HELLO, b"\x81" * 4000 + b"\x00"), "CBOR"),
        (raw_frame(HELLO, HELLO_BODY + b"\x00"), "follow the value"),
        (raw_frame(HELLO, dumps([2, None, 0, "", None])), "protocol version 2"),
        (raw_frame(HELLO, dumps({"a": 1})), "hello is a list of 5"),
        (raw_frame(HELLO, dumps([1, None, -5, "", None])), "timeout_ms"),
        (raw_frame(HELLO, dumps([1, [1, b"short"], 0, "", None])), "secret"),
        (raw_frame(HELLO, dumps([1, None, 0, "n" * 500, None])), "name"),
        (raw_frame(HELLO, dumps([1, None, 0, "n", b"short"])), "cluster id"),
        (encode_keepalive(1), "first frame is a hello"),
    ],
)
def test_what_is_not_a_hello_is_told_and_cut(port: int, data: bytes, says: str) -> None:
    goodbye = RawClient(port).send(data).goodbye()
    assert goodbye.code == ProtocolError.code
    assert says in goodbye.message


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (raw_frame(HELLO, HELLO_BODY), "second hello"),
        (raw_frame(WRITES_FRAME, dumps([0])), "frame of writes"),
        (raw_frame(WRITES_FRAME, dumps("x")), "frame of writes"),
        (raw_frame(WRITES_FRAME, dumps([-1, [1, [SET]]])), "confirmed"),
        (raw_frame(WRITES_FRAME, dumps([0, ["1", [SET]]])), "a request is"),
        (raw_frame(WRITES_FRAME, dumps([0, [0, [SET]]])), "a request is"),
        (raw_frame(WRITES_FRAME, dumps([5, [5, Set("/a", b"").row()]])), "only grow"),
        (
            raw_frame(WRITES_FRAME, dumps([0, [2, Set("/a", b"").row()], [2, Set("/a", b"").row()]])),
            "only grow",
        ),
        (raw_frame(WRITES_FRAME, dumps([0, [2, ["bad"]], [1, Set("/a", b"").row()]])), "only grow"),
        (raw_frame(WRITES_FRAME, dumps([0, *([n, []] for n in range(1, 8194))])), "at most 8192"),
        (raw_frame(READS_FRAME, dumps([2, 0, *([n, []] for n in range(1, 8194))])), "at most 8192"),
        (raw_frame(READS_FRAME, dumps([9, 0, [1, Get("/").row()]])), "mode"),
        (raw_frame(READS_FRAME, dumps([0, None, [1, Get("/").row()]])), "revision"),
        (raw_frame(7, dumps([])), "end of session"),
        (raw_frame(131, dumps([])), "type 131"),
    ],
)
def test_a_frame_that_is_not_of_the_protocol_ends_its_connection(port: int, data: bytes, says: str) -> None:
    client = RawClient(port)
    client.hello()
    goodbye = client.send(data).goodbye()
    assert goodbye.code == ProtocolError.code
    assert says in goodbye.message


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ([SET, "/a/../b", b"", None, None, 0], InvalidRequest),
        ([SET, "/a\0b", b"", None, None, 0], InvalidRequest),
        ([SET, "a", b"", None, None, 0], InvalidRequest),
        ([SET, "/" + "x" * 2000, b"", None, None, 0], InvalidRequest),
        ([SET, 5, b"", None, None, 0], InvalidRequest),
        ([SET, "/a", "text", None, None, 0], InvalidRequest),
        ([SET, "/a", b"", -1, None, 0], InvalidRequest),
        ([SET, "/a", b"", True, None, 0], InvalidRequest),
        ([SET, "/a", b"", 2**63, None, 0], InvalidRequest),
        ([SET, "/a", b""], InvalidRequest),
        ([SET, "/a", b"x" * (MIB + 1), None, None, 1], LimitExceeded),
        ([GET, "/", None, None], InvalidRequest),  # not a write
        ([77], InvalidRequest),
        ([], InvalidRequest),
        ("set", InvalidRequest),
        ([SET, "/nope", b"", None, None, 0], NotFound),
    ],
)
def test_a_bad_op_is_refused_and_its_frame_goes_on(port: int, row: object, error: type) -> None:
    client = RawClient(port)
    client.hello()
    good = Set("/good", b"x", create=True).row()
    first, second, third = client.write(good, row, good)  # type: ignore[arg-type]
    assert (first[1], second[1], third[1]) == (0, error.code, 0)
    assert second[4]
    client.close()


def test_a_page_over_the_limit_is_refused(port: int) -> None:
    client = RawClient(port)
    client.hello(0)
    [reply] = client.read([LIST, "/", 0, 1_000_000, None])
    assert reply[1] == LimitExceeded.code
    assert reply[5] == {"limit": "list_page", "maximum": 10_000}


def test_a_write_without_a_session_is_refused(port: int) -> None:
    client = RawClient(port)
    client.hello(0)
    [reply] = client.write(Set("/a", b"").row())
    assert reply[1] == SessionRequired.code


def test_half_a_handshake_is_cut_in_time(port: int) -> None:
    goodbye = RawClient(port).send(raw_frame(HELLO, HELLO_BODY)[:7]).goodbye()
    assert "no hello within 300 ms" in goodbye.message


def test_a_wrong_secret_does_not_get_a_session(port: int) -> None:
    owner = RawClient(port)
    session = owner.hello().session
    thief = RawClient(port)
    body = dumps([1, [session, b"0" * 16], 0, "thief", None])
    assert "secret" in thief.send(raw_frame(HELLO, body)).goodbye().message
    assert owner.write(Set("/owned", b"", create=True).row())[0][1] == 0


def test_random_bytes(port: int) -> None:
    dice = random.Random(7)
    for _ in range(100):
        client = RawClient(port)
        client.send(dice.randbytes(dice.randrange(1, 200)))
        client.socket.shutdown(socket.SHUT_WR)
        frame = client.frame()
        assert frame is None or isinstance(frame, Goodbye)
        client.close()


def test_random_bodies_after_a_good_hello(port: int) -> None:
    dice = random.Random(8)
    for _ in range(100):
        client = RawClient(port)
        client.hello(0)
        client.send(raw_frame(dice.randrange(1, 9), dice.randbytes(dice.randrange(0, 40))))
        client.socket.shutdown(socket.SHUT_WR)
        while client.frame() is not None:
            pass
        client.close()


def test_too_many_connections_are_turned_away_with_a_reason(port: int) -> None:
    crowd = [RawClient(port) for _ in range(290)]
    for each in crowd:
        each.hello(0)  # or it may have been cut, for saying nothing, before the last one comes
    crowd += [RawClient(port) for _ in range(30)]
    told = 0
    for each in crowd[290:]:
        each.send(raw_frame(HELLO, dumps([1, None, 0, "crowd", None])))
        frame = each.frame()
        if isinstance(frame, Goodbye):
            assert "limit connections" in frame.message
            told += 1
    assert told >= 20
    for each in crowd:
        each.close()


def test_a_client_that_never_reads_is_cut(port: int) -> None:
    writer = RawClient(port)
    writer.hello()
    writer.write(Set("/large", b"x" * MIB, create=True).row())
    sloth = RawClient(port)
    sloth.hello(0)
    # Watch the large znode, and read nothing: events cannot be put off, so the outbox grows past its limit.
    sloth.send(raw_frame(4, dumps([1, 1, "/large", 1, None])))
    sloth.frame()
    for number in range(40):
        assert writer.write(Set("/large", bytes([number]) * MIB).row())[0][1] == 0
    frames = 0
    while sloth.frame() is not None:
        frames += 1
    assert frames < 40


def test_a_client_that_reads_slowly_gets_all_it_asked_for(port: int) -> None:
    client = RawClient(port)
    client.hello()
    client.write(Set("/slow", b"y" * MIB, create=True).row())
    # More than the outbox may hold; reads wait until there is room.
    requests = [(1000 + number, Get("/slow").row()) for number in range(30)]
    client.send(b"".join(encode_reads(0, 0, [request]) for request in requests))
    found = set()
    while len(found) < 30:
        frame = client.frame()
        assert frame is not None
        found |= {row[0] for row in frame.rows}  # type: ignore[union-attr]
    assert found == {number for number, _ in requests}


def test_garbage_and_a_reset(port: int) -> None:
    """The goodbye finds the client gone already."""
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.sendall(b"\xff" * 64)
    bystander = RawClient(port)
    bystander.hello(10_000)
    assert bystander.write(Set("/bystander", b"1").row())[0][1] == 0
