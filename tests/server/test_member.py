"""A member without a process of its own: what it lets go of when it ends, and how soon it is found again."""

import contextlib
import os
import threading
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

import coord.server.peers
from coord.disk.real import RealFileSystem
from coord.disk.storage import Storage
from coord.raft.types import Configuration, SnapshotMeta
from coord.replica.formation import FRESH, Formation
from coord.replica.state import ReplicaState
from coord.server.config import Address, Config, ConfigError
from coord.server.disk import DiskTasks
from coord.server.driver import form
from coord.server.member import Member
from coord.server.peers import PeerNetwork
from coord.server.poller import Poller
from coord.server.sockets import accept_forever, listen
from coord.server.writer import LogWriter
from coord.wire.client_frames import Hello, encode_hello
from coord.wire.peer_frames import FormationProbe, FormationReply, PeerHello, PeerMessage, encode_peer_hello
from tests.processes import free_ports


def descriptors() -> list[str]:
    return os.listdir("/proc/self/fd")


async def test_a_snapshot_under_way_is_dropped_when_its_member_ends(tmp_path: Path) -> None:
    before = descriptors()
    filesystem = RealFileSystem(tmp_path / "data", create=True)
    storage, _ = Storage.open(filesystem, member_id=1, create=True)
    storage.set_cluster_id(b"c" * 16)
    names = filesystem.names()
    put: list[object] = []
    begun = trio.Event()
    token = trio.lowlevel.current_trio_token()

    def answer(given: object) -> None:
        put.append(given)
        token.run_sync_soon(begun.set)

    disk = DiskTasks(storage, LogWriter(storage, answer), answer, print)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(disk.run)
        disk.begin_snapshot(SnapshotMeta(1, 1, Configuration((1,))))
        disk.add_snapshot_section(b"half of it")
        await begun.wait()
        assert len(filesystem.names()) == len(names) + 1
        nursery.cancel_scope.cancel()
    assert filesystem.names() == names
    storage.close()
    filesystem.close()
    assert descriptors() == before


async def test_a_member_that_cannot_begin_lets_go_of_what_it_has(tmp_path: Path) -> None:
    before = descriptors()
    [port] = free_ports(1)
    (tmp_path / "data").write_text("not a folder")
    members = [
        {"id": 1, "client": f"127.0.0.1:{port}"},
        {"id": 2, "client": "127.0.0.1:1", "peer": "127.0.0.1:2"},
    ]
    config = Config.model_validate(
        {"members": members, "data": tmp_path / "data", "peer_listen": "127.0.0.1:0"}
    )
    with pytest.raises(Exception, match="data"):
        await Member(config).run()
    config = config.model_copy(update={"data": tmp_path / "data" / "in-a-file" / "data"})
    with pytest.raises(ConfigError):
        await Member(config).run()
    assert descriptors() == before


async def test_a_connection_that_a_dead_driver_was_given_is_closed(tmp_path: Path) -> None:
    """The driver fails between two calls of other threads; the second of them brings it a client."""
    before = descriptors()
    [port] = free_ports(1)
    config = Config.model_validate({"listen": f"127.0.0.1:{port}", "data": tmp_path / "data"})
    member, gate, ready = Member(config), threading.Event(), trio.Event()

    def fail() -> None:
        gate.wait()
        raise ZeroDivisionError

    async def run() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            await member.run(ready=ready.set)
        assert caught.group_contains(ZeroDivisionError)

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            await ready.wait()
            member.call(fail)
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                while not member._poller._calls:
                    await trio.sleep(0.001)
                gate.set()
                assert await stream.receive_some() == b""
    assert descriptors() == before


async def test_a_killed_member_says_nothing_wherever_its_driver_is(tmp_path: Path) -> None:
    """Also when the driver is not waiting, but in the middle of something, when it is told."""
    [port] = free_ports(1)
    config = Config.model_validate({"listen": f"127.0.0.1:{port}", "data": tmp_path / "data"})
    busy, gate, ready = threading.Event(), threading.Event(), trio.Event()
    gate.set()

    def look(_: ReplicaState) -> None:
        if not gate.is_set():
            busy.set()
            gate.wait()

    member = Member(config, look=look)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(member.run, ready=ready.set))
            await ready.wait()
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(encode_hello(Hello(None, "test", None)))
                assert await stream.receive_some()  # its welcome
                gate.clear()
                await trio.to_thread.run_sync(busy.wait)
                member.fall_silent()
                member.stop()
                await wait_all_tasks_blocked()
                gate.set()
                assert await stream.receive_some() == b""


async def test_forming_answers_at_once() -> None:
    """Not when its next tick comes: by the settings of this test, that is long after it has failed."""
    sent: list[tuple[int, list[PeerMessage]]] = []
    news = trio.Event()
    token = trio.lowlevel.current_trio_token()

    class Peers:
        def send(self, peer: int, messages: list[PeerMessage]) -> None:
            sent.append((peer, messages))
            token.run_sync_soon(news.set)

    formation = Formation(1, (2,), 1, b"c" * 16, probe_ticks=10)
    with trio.fail_after(10), contextlib.closing(Poller()) as poller:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(form, formation, poller, Peers(), 20_000, print)
            await news.wait()
            [(_, [probe])] = sent
            assert isinstance(probe, FormationProbe)
            sent.clear()
            news = trio.Event()
            poller.call(lambda _: formation.receive(2, FormationProbe(77)), None)
            await news.wait()
            assert sent == [(2, [FormationReply(77, FRESH, b"")])]
            poller.call(lambda _: formation.receive(2, FormationReply(probe.nonce, FRESH, b"")), None)


async def test_a_peer_that_dials_is_dialled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coord.server.peers, "RETRY_FIRST_S", 3600.0)
    own_port, peer_port = free_ports(2)
    peer_address = Address(host="127.0.0.1", port=peer_port)
    said: list[str] = []
    refused = trio.Event()

    def say(text: str) -> None:
        said.append(text)
        refused.set()

    with contextlib.closing(Poller()) as poller:
        network = PeerNetwork(1, {2: peer_address}, poller, say)
        [listener] = await listen(Address(host="127.0.0.1", port=own_port), "members")
        with trio.fail_after(20), listener:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(accept_forever, listener, nursery, network.accepted, say)
                network.start(nursery)
                await refused.wait()
                assert "cannot be reached" in said[0]
                [door] = await listen(peer_address, "members")
                with door, trio.socket.from_stdlib_socket(door) as arrivals:
                    async with await trio.open_tcp_stream("127.0.0.1", own_port) as stream:
                        await stream.send_all(encode_peer_hello(PeerHello(2, 1, b"")))
                        dialled, _ = await arrivals.accept()
                        dialled.close()
                nursery.cancel_scope.cancel()
        network.close()
        poller.poll(0)
