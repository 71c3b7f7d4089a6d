"""Members hosted in this process: what can be done to them, and what others see of it."""

import socket
import threading
import time
from contextlib import AbstractContextManager

import pytest

from coord.api.errors import OK, InvalidRequest, Unavailable
from coord.api.ops import Set
from coord.server.causes import Stopped
from coord.testing import Cluster, cluster
from coord.wire.client_frames import encode_writes
from coord.wire.peer_frames import PeerHello, encode_peer_hello
from tests.rawclient import RawClient
from tests.testing.talk import SILENCE_S, ask, client_of, other, port_of, put, says_nothing, value

# --- a cluster --------------------------------------------------------------------------------------


def test_it_serves_when_it_is_there() -> None:
    with cluster(3) as made:
        assert made.leader() in (1, 2, 3)
        assert len(set(made.endpoints)) == 3
        assert [member.number for member in made.members] == [1, 2, 3]
        put(client_of(made, 1), "/a", b"x")
        assert [value(made, n, "/a") for n in (1, 2, 3)] == [b"x"] * 3
        assert "member 2 at 127.0.0.1:" in repr(made)


def test_clusters_know_nothing_of_each_other() -> None:
    with cluster(1) as one, cluster(1) as two:
        put(client_of(one), "/a")
        assert value(two, 1, "/a") is None


def test_a_session_may_be_short() -> None:
    with cluster(1) as made:
        client = RawClient(port_of(made, 1))
        assert client.hello(timeout_ms=150).timeout_ms == 150


def test_limits_are_those_that_are_asked_for() -> None:
    with cluster(1, limits={"value_bytes": 10, "list_page": 7}) as made:
        [reply] = client_of(made).write(Set("/a", b"12345678901", create=True).row())
        assert reply[1] != OK


# --- pauses -----------------------------------------------------------------------------------------


def test_a_paused_member_is_silent_and_then_goes_on(three: Cluster) -> None:
    client = client_of(three, 2)
    three.pause(2)
    assert three.member(2).paused
    ask(client)
    newcomer = RawClient(port_of(three, 2))  # the system takes the connection, as for a stopped process
    ask(newcomer)
    peer = RawClient(three.member(2)._config.peer_listen.port)
    peer.send(encode_peer_hello(PeerHello(1, 2, b"")))
    for each in (client, newcomer, peer):
        assert says_nothing(each)
    peer.close()
    three.resume(2)
    assert client.frame() is not None
    assert not three.member(2).paused


def test_a_paused_leader_is_replaced(three: Cluster) -> None:
    old = three.wait_leader()
    three.pause(old)
    new = three.wait_leader()
    assert new != old
    put(client_of(three, new), "/new-leader", b"%d" % new)
    three.resume(old)
    assert value(three, old, "/new-leader") == b"%d" % new
    assert three.leader() == new


# --- ends -------------------------------------------------------------------------------------------


def test_a_killed_member_says_no_goodbye_and_keeps_its_data(three: Cluster) -> None:
    victim = other(three.wait_leader())
    client = client_of(three, victim)
    put(client, "/kept", b"v")
    three.kill(victim)
    assert client.frame() is None
    assert not three.member(victim).running
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port_of(three, victim)))
    three.restart(victim)
    assert value(three, victim, "/kept") == b"v"


def test_a_lone_member_finds_its_data_again() -> None:
    with cluster(1) as made:
        put(client_of(made), "/kept", b"v")
        made.kill()
        made.restart()
        assert value(made, 1, "/kept") == b"v"
        made.restart()  # while it runs: stopped first
        assert value(made, 1, "/kept") == b"v"


def test_threads_take_turns(three: Cluster) -> None:
    errors: list[BaseException] = []

    def harm() -> None:
        try:
            for _ in range(3):
                three.restart(2)
                three.member(2).kill()
        except Exception as error:  # noqa: BLE001  # shown below
            errors.append(error)

    threads = [threading.Thread(target=harm) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_stopped_member_says_goodbye(three: Cluster) -> None:
    client = client_of(three, 3)
    three.stop(3)
    assert "stopping" in client.goodbye().message


def test_a_member_killed_in_a_pause_does_nothing_any_more(three: Cluster) -> None:
    victim = three.wait_leader()
    client = client_of(three, victim)
    three.pause(victim)
    client.send(encode_writes(0, [(1, Set("/too-late", b"", create=True).row())]))
    three.kill(victim)
    assert client.frame() is None
    three.restart(victim)
    assert value(three, victim, "/too-late") is None


def test_there_is_no_leader_without_a_majority(three: Cluster) -> None:
    three.kill(1)
    three.kill(2)
    assert three.leader() is None
    with pytest.raises(Unavailable, match=r"no leader in 0\.2 s: .*stopped.*stopped.*running"):
        three.wait_leader(0.2)


def test_who_waits_for_a_leader_hears_of_one_that_goes_on() -> None:
    with cluster(1) as made:
        made.pause()
        waiting = threading.Thread(target=made.wait_leader, args=(60.0,))
        waiting.start()
        waiting.join(SILENCE_S)
        assert waiting.is_alive()
        made.resume()
        waiting.join(30)
        assert not waiting.is_alive()


# --- mistakes, and bugs -----------------------------------------------------------------------------


def test_what_cannot_be_asked_for_is_refused_in_words(three: Cluster) -> None:
    def refused(text: str) -> AbstractContextManager[object]:
        return pytest.raises(InvalidRequest, match=text)

    with refused("no member 4: this cluster has members 1 to 3"):
        three.pause(4)
    with refused(r"which member\?"):
        three.kill()
    with refused("cut off from itself"):
        three.cut_off(1, peers=[1])
    with refused("direction is"):
        three.cut_off(1, direction="up")  # type: ignore[arg-type]
    three.kill(2)
    with refused("cannot pause member 2: it does not run; restart it first"):
        three.pause(2)
    with refused("1 to 9, not 0"), cluster(0):
        pass
    with refused("election_timeout: 0.015 to 60 seconds, not 0"), cluster(1, election_timeout=0):
        pass
    with refused("no limit 'sice'.*value_bytes"), cluster(1, limits={"sice": 1}):
        pass


def test_what_ends_a_member_of_itself_is_raised_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    from coord.disk.errors import SyncFailed
    from coord.disk.storage import Storage

    def fail(self: Storage, persist: object) -> None:
        raise SyncFailed("the disk is gone")

    def main() -> None:
        with cluster(1) as made:
            client = client_of(made)
            monkeypatch.setattr(Storage, "append", fail)
            client.send(encode_writes(0, [(1, Set("/a", b"", create=True).row())]))
            while client.frame() is not None:
                pass  # a goodbye, and then the end

    with pytest.raises(SyncFailed, match="the disk is gone") as caught:
        main()
    assert caught.value.__notes__ == ["member 1 of the cluster under test was ended by this"]


def test_what_was_raised_before_is_not_raised_again_at_the_end() -> None:
    with cluster(1) as made:
        put(client_of(made), "/a")
        made.kill()
        for segment in made.member().data.glob("wal-*"):
            segment.write_bytes(b"")
        with pytest.raises(Stopped, match="restore the folder from a backup"):
            made.restart()
        assert not made.member().running


def test_a_port_stays_its_members_own(three: Cluster) -> None:
    three.kill(2)
    with socket.socket() as thief, pytest.raises(OSError, match="in use"):
        thief.bind(("127.0.0.1", port_of(three, 2)))


def test_it_is_quick() -> None:
    began = time.monotonic()
    with cluster(3):
        assert time.monotonic() - began < 5  # 0.2 s where nothing else runs
