"""The simulated links: what arrives, in which order, and who is told of what does not."""

from random import Random

import pytest

from coord.jepsen_like.sim.agenda import MS_NS, SECOND_NS, Agenda
from coord.jepsen_like.sim.network import Network
from coord.jepsen_like.sim.trace import Trace
from coord.jepsen_like.sim.world import World


class Life:
    cluster = b""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.lost: list[int] = []
        self.down: list[int] = []

    def frame_arrived(self, sender: int, frame: bytes) -> None:
        self.frames.append(frame)

    def peer_lost(self, peer: int) -> None:
        self.lost.append(peer)

    def peer_down(self, peer: int) -> None:
        self.down.append(peer)

    def welcomes(self, cluster: bytes) -> bool:
        return True


class Pair:
    """Members 1 and 2, both up."""

    def __init__(self, world: World, seed: int = 1) -> None:
        self.agenda = Agenda()
        self.losses = 0
        self.network = Network(world, self.agenda, Random(seed), Trace(), [1, 2], self._lost)
        self.one, self.two = Life(), Life()
        self.network.start(1, self.one)
        self.network.start(2, self.two)
        self.run(SECOND_NS)
        self.one.lost.clear()

    def _lost(self) -> None:
        self.losses += 1

    def run(self, wait_ns: int) -> None:
        self.agenda.run_until(self.agenda.now_ns + wait_ns)

    def send(self, *frames: bytes) -> None:
        for frame in frames:
            self.network.send(1, 2, frame)


FRAMES = [b"%d" % number for number in range(30)]


def test_a_stream_keeps_the_order() -> None:
    pair = Pair(World(delay_min_us=1, delay_max_us=50_000))
    pair.send(*FRAMES)
    pair.run(SECOND_NS)
    assert pair.two.frames == FRAMES
    assert not pair.one.lost


def test_datagrams_are_reordered_repeated_and_lost() -> None:
    pair = Pair(World(streams=False, delay_min_us=1, delay_max_us=50_000, duplicates=0.3, loss=0.2))
    pair.send(*FRAMES)
    pair.run(SECOND_NS)
    arrived = pair.two.frames
    assert arrived != sorted(arrived, key=int)
    assert len(set(arrived)) < len(FRAMES)
    assert len(set(arrived)) < len(arrived)
    assert pair.losses == len(FRAMES) - len(set(arrived))
    assert not pair.one.lost  # nobody is told


def test_a_lost_frame_breaks_a_stream_and_its_sender_is_told_and_told_again_when_it_is_back() -> None:
    pair = Pair(World())
    pair.network.drop_next[1] = None
    pair.send(b"lost")
    assert pair.one.lost == [2]
    pair.send(b"dropped, for there is no connection")
    pair.run(SECOND_NS)
    assert pair.one.lost == [2, 2]
    pair.send(b"after")
    pair.run(SECOND_NS)
    assert pair.two.frames == [b"after"]


def test_what_a_short_cut_holds_up_arrives() -> None:
    pair = Pair(World())
    pair.network.block(1, 2)
    pair.send(*FRAMES)
    pair.run(SECOND_NS)
    assert not pair.two.frames
    pair.network.unblock([(1, 2)])
    pair.run(SECOND_NS)
    assert pair.two.frames == FRAMES
    assert not pair.one.lost


@pytest.mark.parametrize("pair", [(1, 2), (2, 1)])
def test_a_long_cut_in_either_direction_breaks_the_connection(pair: tuple[int, int]) -> None:
    """Without the acknowledgements a stream is dead, too, but what was sent arrives."""
    both = Pair(World())
    both.network.block(*pair)
    both.send(b"sent")
    both.run(4 * SECOND_NS)
    assert both.one.lost == [2]
    assert both.two.frames == ([b"sent"] if pair == (2, 1) else [])


def test_nothing_reaches_a_later_life_from_a_connection_to_an_earlier_one() -> None:
    pair = Pair(World())
    pair.send(b"to the first life")
    pair.network.stop(2, power=False)
    second = Life()
    pair.network.start(2, second)
    pair.run(20 * MS_NS)
    assert not second.frames
    assert pair.one.lost


def test_a_peer_is_told_of_the_end_of_a_process() -> None:
    pair = Pair(World(told_down=1.0))
    pair.network.stop(2, power=False)
    pair.run(SECOND_NS)
    assert pair.one.down == [2]


@pytest.mark.parametrize("why", ["lost on the way", "cut off", "nobody is there to refuse"])
def test_or_is_not(why: str) -> None:
    pair = Pair(World(told_down=0.0 if why == "lost on the way" else 1.0))
    if why == "cut off":
        pair.network.block(2, 1)
    pair.network.stop(2, power=why == "nobody is there to refuse")
    pair.run(5 * SECOND_NS)
    assert not pair.one.down


def test_what_is_held_up_comes_late_on_a_stream_in_its_order_and_of_datagrams_a_part() -> None:
    stream = Pair(World())
    stream.network.hold_up(1, 2, SECOND_NS)
    stream.send(*FRAMES)
    stream.run(500 * MS_NS)
    assert stream.two.frames == []
    stream.network.unblock([(1, 2)])
    stream.run(500 * MS_NS)
    assert stream.two.frames == FRAMES

    datagrams = Pair(World(streams=False))
    datagrams.network.hold_up(1, 2, SECOND_NS)
    datagrams.send(*FRAMES)
    datagrams.run(500 * MS_NS)
    soon = list(datagrams.two.frames)
    assert 0 < len(soon) < len(FRAMES)
    datagrams.run(SECOND_NS)
    assert sorted(datagrams.two.frames) == sorted(FRAMES)
    datagrams.send(b"later")
    datagrams.run(100 * MS_NS)
    assert datagrams.two.frames[-1] == b"later"
