"""Random faults from a seed: first anything may happen to anybody, then a quorum is healed and must get on.

A seed is a bug report: ``python -m tests.raft.faults SEED`` replays it and prints the whole trace.
"""

import random
import sys
from collections.abc import Callable

from coord.api.checks import check
from coord.raft.quorum import has_quorum
from coord.raft.settings import RaftSettings
from coord.raft.types import Configuration
from tests.raft.cluster import Cluster

STEPS = 500


class Faults:
    """One run. Each seed also draws which faults there are and how often ("swarm testing")."""

    def __init__(self, seed: int) -> None:
        self.dice = dice = random.Random(seed)
        settings = RaftSettings(
            election_ticks=dice.choice([4, 6, 10]),
            heartbeat_ticks=dice.choice([1, 2, 3]),
            max_append_bytes=dice.choice([1, 12, 1 << 20]),
            max_inflight_appends=dice.choice([1, 2, 8]),
        )
        voters = list(range(1, dice.choice([1, 2, 3, 3, 3, 4, 5, 5]) + 1))
        learners = [len(voters) + 1] if dice.random() < 0.3 else []
        outside = [len(voters) + len(learners) + 1] if dice.random() < 0.5 else []
        self.cluster = Cluster(voters, learners, outside, settings, seed)
        self.ids = list(self.cluster.members)
        self.wiped: dict[int, bool] = {}
        self.paused = 0
        self.proposals = 0
        self.reads = 0
        drawn: list[tuple[Callable[[], None], float]] = [
            (self.deliver, 30),
            (self.deliver_some, 8),
            (self.tick, 12),
            (self.tick_all, 12),
            (self.sync, 16),
            (self.sync_one, 6),
            (self.propose, 10),
            (self.read, 6),
            (self.lose, dice.choice([0, 2, 8])),
            (self.repeat, dice.choice([0, 2, 6])),
            (self.crash, dice.choice([0, 1, 2])),
            (self.crash_after_election, dice.choice([0, 4])),
            (self.start, 4),
            (self.pause, dice.choice([0, 3])),
            (self.resume, 1),
            (self.pause_for_long, dice.choice([0, 0.5])),
            (self.cut, dice.choice([0, 1, 3])),
            (self.heal, 2),
            (self.transfer, dice.choice([0, 1, 3])),
            (self.configure, dice.choice([0, 1, 3])),
            (self.snapshot, dice.choice([0, 2, 6])),
            (self.install, 3),
            (self.unreachable, dice.choice([0, 1])),
            (self.down, dice.choice([0, 1, 4])),
            (self.replace_disk, dice.choice([0, 0, 1])),
        ]
        self.actions: list[Callable[[], None]] = [action for action, _ in drawn]
        self.weights = [weight for _, weight in drawn]
        self.cluster.auto_install = dice.random() < 0.5
        self.in_order = dice.random() < 0.4

    # -- the run --------------------------------------------------------------------------------------------

    def run(self) -> None:
        for action in self.dice.choices(self.actions, self.weights, k=STEPS):
            action()
        self.recover_and_commit()

    def recover_and_commit(self) -> None:
        """Heal a quorum, and no more than that if possible, and demand that it commits something new."""
        cluster = self.cluster
        cluster.heal()
        cluster.network.clear()
        core = self.choose_core()
        if core is None:
            return  # too many are recovering for anybody to be elected: rightly so (recovering.py)
        for member_id in self.ids:
            if member_id not in core and cluster.members[member_id].raft is not None:
                cluster.crash(member_id)
        cluster.auto_install = True
        for member_id in list(cluster.installing):
            cluster.install(member_id)
        before = cluster.ghosts.committed_index
        election_ticks = cluster.settings.election_ticks
        for _ in range(30):
            for leader in cluster.leaders():
                if cluster.up(leader).propose(b"alive") is not None:
                    cluster.pump(leader)
            cluster.pass_time(election_ticks)
            if cluster.ghosts.committed_index > before and self.alive_committed(before) and self.agree(core):
                return
        raise AssertionError(f"no progress with {core}: {[cluster.up(i).status() for i in core]}")

    def alive_committed(self, before: int) -> bool:
        return any(entry.data == b"alive" for entry in self.cluster.ghosts.committed[before:])

    def agree(self, core: list[int]) -> bool:
        """All of the healed that are members still have applied the same."""
        cluster = self.cluster
        leaders = cluster.leaders()
        if len(leaders) != 1:
            return False
        configuration = cluster.up(leaders[0]).configuration
        if configuration.outgoing:
            return False
        belonging = [i for i in core if i in configuration.voters or i in configuration.learners]
        ends = {(cluster.members[i].applied_index, cluster.members[i].digest) for i in belonging}
        return len(ends) == 1 and not any(cluster.members[i].recovering for i in belonging)

    def choose_core(self) -> list[int] | None:
        """A quorum of every configuration that any member may still go by; None if too few are sound."""
        cluster = self.cluster
        for member_id in self.ids:
            if cluster.members[member_id].raft is None:
                cluster.start(member_id)
        configurations = []
        for member_id in self.ids:
            raft = cluster.up(member_id)
            configurations += [
                at.configuration for at in raft._state.configurations if at.configuration.voters
            ]
        order = self.dice.sample(self.ids, len(self.ids))
        core = [i for i in self.ids if cluster.members[i].recovering]
        for member_id in order:
            if self.suffices(core, configurations):
                break
            if member_id not in core:
                core.append(member_id)
        if not self.suffices(core, configurations):
            check(any(member.recovering for member in cluster.members.values()), "else all members suffice")
            return None
        return sorted(core)

    def suffices(self, core: list[int], configurations: list[Configuration]) -> bool:
        sound = {i: True for i in core if not self.cluster.members[i].recovering}
        return all(has_quorum(configuration, sound) for configuration in configurations)

    # -- what happens ---------------------------------------------------------------------------------------

    def any_live(self) -> int:
        live = [i for i in self.cluster.live() if i != self.paused]
        return self.dice.choice(live) if live else 0

    def any_leader(self) -> int:
        leaders = [i for i in self.cluster.leaders() if i != self.paused]
        return self.dice.choice(leaders) if leaders else 0

    def pause(self) -> None:
        """One member stands still, most likely a leader: what it is sent waits for it, also answers to itself."""
        if not self.paused:
            self.paused = self.any_leader() or self.any_live()

    def pause_for_long(self) -> None:
        """Long enough for the others to elect another and go on, without faults of their own."""
        self.paused = self.any_leader()
        if not self.paused:
            return
        for _ in range(3 * self.cluster.settings.election_ticks):
            self.tick_all()
            for letter in [letter for letter in self.cluster.network if letter[1] != self.paused]:
                self.cluster.deliver(self.cluster.network.index(letter))
                self.cluster.pump(letter[1])
            for member_id in self.cluster.live():
                if member_id != self.paused:
                    self.cluster.sync(member_id)
                    self.cluster.pump(member_id)
            self.propose()
        self.resume()

    def resume(self) -> None:
        """A leader that was paused does not know it. First it is asked for a read, then all that waited comes in."""
        member_id, self.paused = self.paused, 0
        if member_id in self.cluster.leaders():
            self.read_at(member_id)
        if member_id in self.cluster.live():
            self.gulp(member_id)

    def deliver(self) -> None:
        for _ in range(4):
            network = self.cluster.network
            if network:
                position = 0 if self.in_order else self.dice.randrange(len(network))
                to = network[position][1]
                if to != self.paused:
                    self.cluster.deliver(position)
                    self.cluster.pump(to)

    def deliver_some(self) -> None:
        """All that waits for one member, in one gulp: as after a pause."""
        self.gulp(self.any_live())

    def gulp(self, to: int) -> None:
        position = 0
        while position < len(self.cluster.network):
            if self.cluster.network[position][1] == to:
                self.cluster.deliver(position)
            else:
                position += 1
        if to:
            self.cluster.pump(to)

    def tick(self) -> None:
        member_id = self.any_live()
        if member_id:
            self.cluster.tick(member_id, self.dice.randint(1, 4))

    def tick_all(self) -> None:
        for member_id in self.cluster.live():
            if member_id != self.paused:
                self.cluster.tick(member_id)

    def sync(self) -> None:
        member_id = self.any_live()
        if member_id:
            self.cluster.sync(member_id)
            self.cluster.pump(member_id)

    def sync_one(self) -> None:
        member_id = self.any_live()
        if member_id:
            self.cluster.sync(member_id, 1)
            self.cluster.pump(member_id)

    def propose(self) -> None:
        leader = self.any_leader()
        if leader:
            for _ in range(self.dice.randint(1, 3)):
                self.proposals += 1
                self.cluster.up(leader).propose(b"p%d" % self.proposals)
            self.cluster.pump(leader)

    def read(self) -> None:
        leader = self.any_leader()
        if leader:
            self.read_at(leader)

    def read_at(self, leader: int) -> None:
        self.reads += 1
        self.cluster.ghosts.read_asked(self.reads)
        check(self.cluster.up(leader).read_index(self.reads), "a leader takes reads")
        self.cluster.pump(leader)

    def lose(self) -> None:
        if self.cluster.network:
            self.cluster.network.pop(self.dice.randrange(len(self.cluster.network)))

    def repeat(self) -> None:
        if self.cluster.network:
            self.cluster.network.append(self.dice.choice(self.cluster.network))

    def crash(self) -> None:
        member_id = self.any_live()
        if member_id:
            unsynced = len(self.cluster.members[member_id].disk.unsynced)
            self.cluster.crash(member_id, self.dice.randint(0, unsynced))
            if self.dice.random() < 0.5:
                self.cluster.start(member_id)

    def crash_after_election(self) -> None:
        """A leader that just won, and has committed nothing yet: figure 3.7 begins so."""
        for leader in self.cluster.leaders():
            raft = self.cluster.up(leader)
            if raft.term_at(raft.commit_index) != raft.term and self.dice.random() < 0.5:
                self.cluster.crash(leader, len(self.cluster.members[leader].disk.unsynced))
                self.cluster.start(leader)

    def start(self) -> None:
        down = [i for i in self.ids if self.cluster.members[i].raft is None]
        if down:
            self.cluster.start(self.dice.choice(down))

    def replace_disk(self) -> None:
        """At most a minority, of anything that may be a quorum, may lose its memory: one at a time, here."""
        if len(self.ids) < 3 or any(member.recovering for member in self.cluster.members.values()):
            return
        member_id = self.dice.choice(self.ids)
        if self.cluster.members[member_id].raft is not None:
            self.cluster.crash(member_id)
        self.cluster.replace_disk(member_id)
        self.cluster.start(member_id, recovering=True)

    def cut(self) -> None:
        one, other = self.dice.sample(self.ids, 2) if len(self.ids) > 1 else (1, 1)
        kind = self.dice.randrange(4)
        if kind == 0:
            self.cluster.isolate(one)
        elif kind == 1:
            self.cluster.isolate(one, inbound=self.dice.random() < 0.5, outbound=self.dice.random() < 0.5)
        else:
            self.cluster.cut[one, other] = True
            if kind == 2:
                self.cluster.cut[other, one] = True

    def heal(self) -> None:
        self.cluster.heal()

    def transfer(self) -> None:
        leader = self.any_leader()
        if leader:
            self.cluster.up(leader).transfer_leadership(self.dice.choice(self.ids))
            self.cluster.pump(leader)

    def configure(self) -> None:
        leader = self.any_leader()
        if leader:
            voters = tuple(i for i in self.ids if self.dice.random() < 0.7)
            learners = tuple(i for i in self.ids if i not in voters and self.dice.random() < 0.5)
            self.cluster.up(leader).propose_configuration(Configuration(voters, (), learners))
            self.cluster.pump(leader)

    def snapshot(self) -> None:
        member_id = self.any_live()
        if member_id and member_id not in self.cluster.installing:
            member = self.cluster.members[member_id]
            if member.applied_index > max(member.disk.snapshot.index, member.disk.start_index):
                keep = min(self.dice.choice([0, 0, 3]), member.applied_index - member.disk.start_index)
                self.cluster.snapshot(member_id, keep)
                self.cluster.pump(member_id)

    def install(self) -> None:
        if self.cluster.installing:
            member_id = self.dice.choice(list(self.cluster.installing))
            self.cluster.install(member_id, good=self.dice.random() < 0.8)
            self.cluster.pump(member_id)

    def unreachable(self) -> None:
        leader = self.any_leader()
        if leader:
            self.cluster.up(leader).peer_unreachable(self.dice.choice(self.ids))
            self.cluster.pump(leader)

    def down(self) -> None:
        """Members are told that a process is gone, most likely their leader's: rightly or wrongly."""
        peer = self.any_leader() or self.dice.choice(self.ids)
        for member_id in self.dice.sample(
            self.cluster.live(), self.dice.randint(0, len(self.cluster.live()))
        ):
            if member_id not in (peer, self.paused):
                self.cluster.up(member_id).peer_down(peer)
                self.cluster.pump(member_id)


if __name__ == "__main__":
    run = Faults(int(sys.argv[1]))
    try:
        run.run()
    finally:
        print("\n".join(run.cluster.trace))
