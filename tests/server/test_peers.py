"""When a member is told that the process of a peer is gone, and when not: real sockets, in one thread."""

import contextlib
import socket
from collections.abc import AsyncIterator, Callable

import pytest
import trio

import coord.server.peers
from coord.server.config import Address
from coord.server.peers import PeerNetwork
from coord.server.poller import Poller
from coord.server.sockets import accept_forever, listen
from tests.processes import free_ports

BOTH = frozenset({2})
NOBODY: frozenset[int] = frozenset()


class Pair:
    """Members 1 and 2. What is looked at is what 1 is told of 2."""

    def __init__(self, nursery: trio.Nursery, poller: Poller) -> None:
        ports = free_ports(2)
        self._nursery, self._poller = nursery, poller
        self._addresses = {at + 1: Address(host="127.0.0.1", port=port) for at, port in enumerate(ports)}
        self._doors: dict[int, trio.CancelScope] = {}
        self.lost: list[int] = []
        self.down: list[int] = []
        self.said: list[str] = []
        self.one = self._network(1, 2)
        self.one.lost, self.one.down = self.lost.append, self.down.append
        self.two = self._network(2, 1)

    def _network(self, member: int, peer: int) -> PeerNetwork:
        return PeerNetwork(member, {peer: self._addresses[peer]}, self._poller, self._say)

    def _say(self, text: str) -> None:
        self._poller.call(self.said.append, text)  # and whoever waits for it looks again

    async def begin(self) -> None:
        for member, network in ((1, self.one), (2, self.two)):
            await self.open(member)
            network.start(self._nursery)
        await self.until(self.whole)

    def whole(self) -> bool:
        return all(network._streams and network._incoming for network in (self.one, self.two))

    async def open(self, member: int) -> None:
        """It listens; as coord/server/member.py has it."""
        [listener] = await listen(self._addresses[member], "members")
        self._doors[member] = scope = trio.CancelScope()
        network = self.one if member == 1 else self.two

        async def accept() -> None:
            with scope, listener:
                await accept_forever(listener, self._nursery, network.accepted, self._say)

        self._nursery.start_soon(accept)

    async def shut(self, member: int) -> None:
        """Nobody listens there any more; what is connected stays so."""
        self._doors[member].cancel()
        await trio.testing.wait_all_tasks_blocked()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Be the driver, until it is so."""
        with trio.fail_after(20):
            while not condition():
                await trio.lowlevel.wait_readable(self._poller._selector.fileno())  # type: ignore[attr-defined]
                self._poller.poll(0)
                await trio.lowlevel.checkpoint()

    def take_calls(self) -> None:
        """What trio's tasks have asked the driver for."""
        self._poller.poll(0)

    def end(self, network: PeerNetwork, incoming: bool) -> None:
        for stream in list((network._incoming if incoming else network._streams).values()):
            stream.end()


@pytest.fixture
async def pair(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Pair]:
    monkeypatch.setattr(coord.server.peers, "RETRY_MAX_S", 0.0)  # every connection has lasted
    with contextlib.closing(Poller()) as poller:
        async with trio.open_nursery() as nursery:
            both = Pair(nursery, poller)
            await both.begin()
            both.lost.clear()
            yield both
            nursery.cancel_scope.cancel()
        both.one.close()
        both.two.close()
        poller.poll(0)


async def test_a_process_that_ends_is_told_of_once(pair: Pair) -> None:
    await pair.shut(2)
    pair.two.close()
    await pair.until(lambda: bool(pair.down))
    assert pair.down == [2]
    assert pair.lost  # and before that, as ever
    assert any("member 2 is down" in text for text in pair.said)
    pair.said.clear()
    pair.one._complaints.clear()
    # Dialled again, and refused again.
    await pair.until(lambda: any("member 2" in text for text in pair.said))
    pair.take_calls()
    assert pair.down == [2]


async def test_a_host_that_does_not_answer_has_not_said_so(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silence(address: Address) -> socket.socket:
        raise TimeoutError("no answer")

    monkeypatch.setattr(pair.one, "_dial", silence)
    pair.two.close()
    await pair.until(lambda: any("no answer" in text for text in pair.said))
    pair.take_calls()
    assert not pair.down


async def test_not_before_all_that_it_has_said_is_read(pair: Pair) -> None:
    await pair.shut(2)
    pair.end(pair.two, incoming=True)
    await pair.until(lambda: 2 in pair.one._refusing)
    assert not pair.down
    pair.end(pair.two, incoming=False)
    await pair.until(lambda: bool(pair.down))
    assert pair.down == [2]


async def test_connections_that_break_are_no_death(pair: Pair) -> None:
    for _ in range(3):
        pair.end(pair.two, incoming=True)
        pair.end(pair.two, incoming=False)
        await pair.until(lambda: not pair.one._streams)
        await pair.until(pair.whole)
    assert len(pair.lost) >= 6
    assert not pair.down


async def test_who_dials_again_is_not_down(pair: Pair) -> None:
    """It was away for a moment: 1. nobody listens; 2. it is back, and its connection takes the place of the former."""
    await pair.shut(2)
    pair.end(pair.two, incoming=True)
    await pair.until(lambda: 2 in pair.one._refusing)
    await pair.open(2)
    pair.end(pair.one, incoming=False)
    former = pair.one._incoming[2]
    pair.one._arrivals[2].set()  # as its next hello would
    await pair.until(lambda: bool(pair.one._streams))
    former.end()
    await pair.until(pair.whole)
    assert not pair.down


async def test_a_member_that_is_cut_off_could_not_know(pair: Pair) -> None:
    pair.one.cut(BOTH, BOTH)
    await pair.shut(2)
    pair.two.close()
    refused = len(pair.said)
    await pair.until(lambda: any("cannot be reached" in text for text in pair.said[refused:]))
    pair.one.cut(NOBODY, NOBODY)
    await pair.until(lambda: not pair.one._incoming)
    assert not pair.down


async def test_one_that_was_never_there_is_not_down() -> None:
    ports = free_ports(1)
    said: list[str] = []
    down: list[int] = []
    refused = trio.Event()

    def say(text: str) -> None:
        said.append(text)
        refused.set()

    with contextlib.closing(Poller()) as poller:
        network = PeerNetwork(1, {2: Address(host="127.0.0.1", port=ports[0])}, poller, say)
        network.down = down.append
        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                network.start(nursery)
                await refused.wait()
                nursery.cancel_scope.cancel()
        poller.poll(0)
        network.close()
    assert "cannot be reached" in said[0]
    assert not down
