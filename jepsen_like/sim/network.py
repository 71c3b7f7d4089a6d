"""What lies between the members: one link for each direction of each pair, as ``coord/server/peers.py`` dials them.

Two kinds of link. A *stream* is what TCP gives: in order; what a cut holds up arrives when it heals, unless the sender
has lost patience first; a connection that breaks loses a tail of what was on its way, and says so (``PeerLost``),
there and when a new one is up. A *datagram* link loses, repeats and reorders whole frames and never says a word:
no member runs on one, but Raft must live with it.
"""

from collections.abc import Callable
from random import Random
from typing import Final, Protocol

from coord.jepsen_like.sim.agenda import MICROSECOND_NS, MS_NS, SECOND_NS, Agenda
from coord.jepsen_like.sim.trace import FRAME, Trace
from coord.jepsen_like.sim.world import World

RETRY_FIRST_NS: Final = 50 * MS_NS
RETRY_MAX_NS: Final = SECOND_NS
USER_TIMEOUT_NS: Final = 3 * SECOND_NS
"""As in peers.py: sent and not acknowledged for so long, the connection is dead."""
HELD_UP_SHARE: Final = 0.5
"""Of datagrams on a link that is held up."""


class Port(Protocol):
    """One life of a member, as the network sees it."""

    def frame_arrived(self, sender: int, frame: bytes) -> None: ...
    def peer_lost(self, peer: int) -> None: ...
    def peer_down(self, peer: int) -> None: ...
    def welcomes(self, cluster: bytes) -> bool:
        """Whether it takes a connection of a member of ``cluster`` (empty: of none yet)."""
        ...

    @property
    def cluster(self) -> bytes: ...


class Link:
    """From ``sender`` to ``receiver``."""

    __slots__ = (
        "connected",
        "dead_through",
        "doubt_since_ns",
        "epoch",
        "held_up_until_ns",
        "in_flight",
        "last_arrival_ns",
        "receiver",
        "retry_ns",
        "sender",
        "sent",
        "stalled",
        "survive_through",
    )

    def __init__(self, sender: int, receiver: int) -> None:
        self.sender = sender
        self.receiver = receiver
        self.connected = False
        self.epoch = 0
        """Counts connections, and ends of the sender's lives: what was begun in another one is void."""
        self.sent = 0
        self.dead_through = 0
        """Frames up to this number never arrive: they were sent to a life that is over."""
        self.survive_through = 0
        """Of earlier connections, frames up to this number may still arrive; what came after them is lost."""
        self.in_flight = 0
        self.last_arrival_ns = 0
        self.stalled: list[tuple[int, int, bytes]] = []
        """``(epoch, number, frame)``: held up by a cut, in order."""
        self.held_up_until_ns = 0
        """Of datagrams that are sent before then, many come thereafter."""
        self.doubt_since_ns = 0
        """Since when something was not acknowledged, for a cut; 0: nothing is."""
        self.retry_ns = RETRY_FIRST_NS


class Network:
    def __init__(
        self,
        world: World,
        agenda: Agenda,
        dice: Random,
        trace: Trace,
        members: list[int],
        on_loss: Callable[[], None],
    ) -> None:
        self._world = world
        self._agenda = agenda
        self._dice = dice
        self._trace = trace
        self._on_loss = on_loss
        self.members = members
        self.links = {(one, other): Link(one, other) for one in members for other in members if one != other}
        self._lives: dict[int, Port] = {}
        self.blocked: dict[tuple[int, int], None] = {}
        """Directed pairs between which nothing passes."""
        self.calm = False
        """No losses, no spikes: for the phase of liveness."""
        self.drop_next: dict[int, None] = {}
        """Members whose next frame is lost."""

    # --- lives ------------------------------------------------------------------------------------------------------

    def start(self, member: int, life: Port) -> None:
        self._lives[member] = life
        for other in self.members:
            if other != member:
                link = self.links[(member, other)]
                link.epoch += 1
                link.connected = not self._world.streams
                link.retry_ns = RETRY_FIRST_NS
                if self._world.streams:
                    self._agenda.after(self._delay_ns(), self._dial, link, link.epoch)

    def has(self, member: int) -> bool:
        return member in self._lives

    def stop(self, member: int, power: bool) -> None:
        """The process of ``member`` has ended; ``power``: so did its host, which can no longer say so."""
        del self._lives[member]
        for link in self.links.values():
            if link.sender == member:
                self._forget(link)
            elif link.receiver == member and link.connected and self._world.streams:
                link.dead_through = link.sent  # nobody is there to take what is on its way
                notice_ns = USER_TIMEOUT_NS if power else self._delay_ns()
                self._agenda.after(notice_ns, self._noticed, link, link.epoch)
                if self._world.told_down and not power and self._dice.random() < self._world.told_down:
                    self._agenda.after(
                        notice_ns + self._delay_ns(), self._refused, link, self._lives[link.sender]
                    )

    # --- sending ----------------------------------------------------------------------------------------------------

    def send(self, sender: int, receiver: int, frame: bytes) -> None:
        """Send, or drop what cannot be sent now."""
        link = self.links[(sender, receiver)]
        if not link.connected:
            return
        world, dice = self._world, self._dice
        link.sent += 1
        if sender in self.drop_next:
            del self.drop_next[sender]
            self._lose(link)
            return
        if not self.calm and world.loss and dice.random() < world.loss:
            self._lose(link)
            return
        if world.streams:
            if (receiver, sender) in self.blocked:
                self._doubt(link)
            arrival_ns = max(self._agenda.now_ns + self._delay_ns(), link.last_arrival_ns)
            link.last_arrival_ns = arrival_ns
            self._fly(link, arrival_ns, frame)
            return
        copies = 2 if not self.calm and world.duplicates and dice.random() < world.duplicates else 1
        for _ in range(copies):
            arrival_ns = self._agenda.now_ns + self._delay_ns()
            if arrival_ns < link.held_up_until_ns and dice.random() < HELD_UP_SHARE:
                arrival_ns = link.held_up_until_ns + self._delay_ns()
            self._fly(link, arrival_ns, frame)

    def _fly(self, link: Link, arrival_ns: int, frame: bytes) -> None:
        link.in_flight += 1
        self._agenda.at(arrival_ns, self._arrive, link, link.epoch, link.sent, frame)

    def _delay_ns(self) -> int:
        world, dice = self._world, self._dice
        if not self.calm and world.spikes and dice.random() < world.spikes:
            return dice.randint(world.delay_max_us, world.spike_max_us) * MICROSECOND_NS
        return dice.randint(world.delay_min_us, world.delay_max_us) * MICROSECOND_NS

    def _arrive(self, link: Link, epoch: int, number: int, frame: bytes) -> None:
        link.in_flight -= 1
        if number <= link.dead_through or (epoch != link.epoch and number > link.survive_through):
            return
        life = self._lives.get(link.receiver)
        if (link.sender, link.receiver) in self.blocked:
            if self._world.streams and epoch == link.epoch:
                link.stalled.append((epoch, number, frame))
                self._doubt(link)
            return
        if life is None:
            return
        self._trace.note(self._agenda.now_ns, FRAME, link.receiver, link.sender, frame)
        life.frame_arrived(link.sender, frame)

    def _lose(self, link: Link) -> None:
        self._on_loss()
        if self._world.streams:
            self.break_link(link)

    # --- connections ------------------------------------------------------------------------------------------------

    def break_link(self, link: Link) -> None:
        """The connection breaks; of what is on its way a first part may still arrive, even after the next one is up."""
        if not link.connected or not self._world.streams:
            return
        self._forget(link)
        life = self._lives.get(link.sender)
        if life is not None:
            life.peer_lost(link.receiver)
            self._redial(link)

    def _forget(self, link: Link) -> None:
        survivors = self._dice.randint(0, link.in_flight) if self._dice.random() < 0.5 else 0
        link.survive_through = max(link.survive_through, link.sent - link.in_flight + survivors)
        link.connected = False
        link.epoch += 1
        link.stalled.clear()
        link.doubt_since_ns = 0

    def _noticed(self, link: Link, epoch: int) -> None:
        if link.epoch == epoch:
            self.break_link(link)

    def _refused(self, link: Link, life: Port) -> None:
        """As in peers.py: dialled again at once, and nobody listens there."""
        there, back = (link.sender, link.receiver), (link.receiver, link.sender)
        cut_off = there in self.blocked or back in self.blocked
        if self._lives.get(link.sender) is life and link.receiver not in self._lives and not cut_off:
            life.peer_down(link.receiver)

    def _redial(self, link: Link) -> None:
        self._agenda.after(link.retry_ns, self._dial, link, link.epoch)
        link.retry_ns = min(2 * link.retry_ns, RETRY_MAX_NS)

    def _dial(self, link: Link, epoch: int) -> None:
        if link.epoch != epoch or link.connected:
            return
        there, back = (link.sender, link.receiver), (link.receiver, link.sender)
        life, other = self._lives[link.sender], self._lives.get(link.receiver)
        if other is None or there in self.blocked or back in self.blocked or not other.welcomes(life.cluster):
            self._redial(link)
            return
        link.epoch += 1
        link.connected = True
        link.retry_ns = RETRY_FIRST_NS
        link.last_arrival_ns = self._agenda.now_ns
        life.peer_lost(link.receiver)  # what was sent before is lost; from now on it would arrive

    # --- cuts -------------------------------------------------------------------------------------------------------

    def block(self, sender: int, receiver: int) -> None:
        self.blocked[(sender, receiver)] = None

    def hold_up(self, sender: int, receiver: int, length_ns: int) -> None:
        """For so long: on a stream nothing passes (until it is unblocked); of datagrams many come late."""
        if self._world.streams:
            self.block(sender, receiver)
        else:
            self.links[(sender, receiver)].held_up_until_ns = self._agenda.now_ns + length_ns

    def unblock(self, pairs: list[tuple[int, int]]) -> None:
        for pair in pairs:
            if pair not in self.blocked:
                continue
            del self.blocked[pair]
            link = self.links[pair]
            stalled, link.stalled = link.stalled, []
            for epoch, number, frame in stalled:
                link.in_flight += 1
                arrival_ns = max(self._agenda.now_ns + self._delay_ns(), link.last_arrival_ns)
                link.last_arrival_ns = arrival_ns
                self._agenda.at(arrival_ns, self._arrive, link, epoch, number, frame)
            for each in (link, self.links[(pair[1], pair[0])]):
                if (each.receiver, each.sender) not in self.blocked and (
                    each.sender,
                    each.receiver,
                ) not in self.blocked:
                    each.doubt_since_ns = 0

    def _doubt(self, link: Link) -> None:
        """Something sent is not acknowledged: for a while that is no reason to give up."""
        if not link.doubt_since_ns:
            link.doubt_since_ns = self._agenda.now_ns
            self._agenda.after(USER_TIMEOUT_NS, self._give_up, link, link.epoch, link.doubt_since_ns)

    def _give_up(self, link: Link, epoch: int, since_ns: int) -> None:
        if link.epoch == epoch and link.doubt_since_ns == since_ns:
            self.break_link(link)

    @property
    def most_in_flight(self) -> int:
        return max([link.in_flight + len(link.stalled) for link in self.links.values()], default=0)
