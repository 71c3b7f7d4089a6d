"""How a cluster comes to be, and how a member with an empty disk is told apart from a new one.

A member with an empty disk must not simply vote. The story: A, B and C serve; a write is on A and B. B
loses its disk and comes back under its old name, empty. If it took part as if it were new, it and C could
elect C, which has never heard of the write. So an empty member asks *all* others who they are, and does
nothing before all have answered or one says that the cluster is established:

- Somebody is *established* (has a term or a log): the cluster exists. This member lost its disk, or is late.
  Either way it joins that cluster *recovering*: no votes and no acknowledgements until it has caught up.
- All are *fresh* (empty), or *formed* (just told to begin, and still without any term): nobody can ever
  have counted on anything that this member said, for a vote leaves a term at the candidate, and an
  acknowledgement presupposes a leader. It is safe to begin. The member with the lowest id draws the
  cluster's id; the others take it over.

So the first start of a cluster needs all its members once; from then on a quorum is enough. (Those that
formed first cannot leave term 0, thanks to pre-vote, before a quorum has formed. So members that come
later and find an established cluster, though they are new, find one that has a quorum without them.)

Differs from etcd (``initial-cluster-state`` in each configuration) and ZooKeeper (an ``initialize`` file):
there the operator knows and says which case it is. Here the members find out, and the same configuration is
right for the first start and for every later one.
"""

from typing import Final, NamedTuple

from coord.wire.peer_frames import FormationProbe, FormationReply, PeerMessage

FRESH: Final = 0
FORMED: Final = 1
ESTABLISHED: Final = 2


class Formed(NamedTuple):
    """The outcome: the cluster's id, and whether this member starts recovering."""

    cluster: bytes
    recovering: bool


class Formation:
    """One empty member's way into a cluster: messages and ticks in, messages out, at last an outcome."""

    def __init__(
        self, member: int, others: tuple[int, ...], boot: int, drawn_cluster: bytes, probe_ticks: int
    ) -> None:
        """``drawn_cluster``: a random id, used if this member turns out to be the founder."""
        self._founder = not others or member < min(others)
        self._others = others
        self._drawn_cluster = drawn_cluster
        self._probe_ticks = probe_ticks
        self._ticks = 0
        self._nonce = boot << 20
        self._replies: dict[int, FormationReply] = {}
        self.messages: list[tuple[int, PeerMessage]] = []
        """To be sent; the shell takes them."""
        self.outcome: Formed | None = None
        self._decide()

    @property
    def waiting_for(self) -> list[int]:
        """Members that have not answered yet."""
        return [other for other in self._others if other not in self._replies]

    def tick(self) -> None:
        """Ask again, now and then: answers may be lost, and what others are changes."""
        if self.outcome is None:
            if self._ticks % self._probe_ticks == 0:
                self._nonce += 1
                self.messages += [(other, FormationProbe(self._nonce)) for other in self._others]
            self._ticks += 1

    def lost(self, peer: int) -> None:
        """The connection to ``peer`` broke, or is there now: what it was asked before did not arrive. Ask it again."""
        if self.outcome is None:
            self.messages.append((peer, FormationProbe(self._nonce)))

    def receive(self, sender: int, message: PeerMessage) -> None:
        """A message of another member; what does not belong to forming is passed over."""
        if isinstance(message, FormationProbe):
            # While this member has no cluster id on disk it is fresh, whatever it has been told.
            self.messages.append((sender, FormationReply(message.nonce, FRESH, b"")))
        elif isinstance(message, FormationReply) and sender in self._others and message.nonce == self._nonce:
            self._replies[sender] = message
            self._decide()

    def _decide(self) -> None:
        """Only answers to one and the same probe are put together, each given after it was asked."""
        if self.outcome is not None:
            return
        replies = [self._replies[other] for other in self._others if other in self._replies]
        replies = [reply for reply in replies if reply.nonce == self._nonce]
        for reply in replies:
            if reply.state == ESTABLISHED:
                self.outcome = Formed(reply.cluster, recovering=True)
                return
        if len(replies) < len(self._others):
            return
        clusters = [reply.cluster for reply in replies if reply.state == FORMED]
        if clusters:
            self.outcome = Formed(clusters[0], recovering=False)
        elif self._founder:
            self.outcome = Formed(self._drawn_cluster, recovering=False)
