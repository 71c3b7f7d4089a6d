"""A language for telling an interleaving and seeing all that follows from it (after etcd's datadriven tests).

A script is a text of commands, each with its whole expected output under ``----``, up to an empty line. Lines that
begin with ``#`` are for the reader: each script is headed by the sentence it implements or departs from.

    cluster 1 2 3 [learners=4] [outside=5] [window=4] [bytes=100]     the outside ones know nobody yet
    elect 1               make 1 the leader, and settle       campaign 1    only until it asks for votes
    tick 1 [3]            ticks of one member                 pass 20       ticks of all, settling after each
    deaf 2 3              they have given up on their leader, so they answer a candidate
    propose 1 x           configure 1 voters=1,2 [learners=3]     read 1 7      transfer 1 2    unreachable 1 2
    down 2 1              2 is told that the process of 1 is gone
    deliver 1>2 [Append] [count]   what lies in the network, in order; 1>* is to anybody; then the receiver's outputs
    drop 1>2 [Append]     hold 1>2 [Append]  (put aside)      copy 1>2 [Append]  (put a copy aside)     release
    sync 1 [count]        the disk syncs batches              stall 1, unstall 1   whether ``settle`` syncs it
    settle                deliver and sync all there is
    crash 1 [kept=1]      kept: unsynced batches that are on disk all the same
    start 1 [recovering]  replace 1    (an empty disk)
    cut 1>2, cut 1        heal
    snapshot 1 [keep=2]   by_hand (snapshots are installed by command)      install 1 [bad]
    status 1, log 1, network
"""

from coord.api.checks import check
from coord.raft.messages import Message
from coord.raft.types import Configuration
from tests.raft.cluster import SETTINGS, Cluster, entry_in_words, message_in_words


class Script:
    def __init__(self) -> None:
        self.cluster = Cluster([])
        self.aside: list[tuple[int, int, Message]] = []

    def run(self, line: str) -> list[str]:
        """Run one command; the lines it gave rise to."""
        cluster = self.cluster
        seen = len(cluster.trace)
        name, *words = line.split()
        command = getattr(self, f"do_{name}")
        options = dict(word.split("=", 1) for word in words if "=" in word)
        answer = command(*[word for word in words if "=" not in word], **options)
        if self.cluster is not cluster:
            return ["ok"]
        return (self.cluster.trace[seen:] + (answer or [])) or ["ok"]

    # -- members ----------------------------------------------------------------------------------------------

    def do_cluster(
        self, *voters: str, learners: str = "", outside: str = "", window: str = "4", bytes: str = "100"
    ) -> None:
        settings = SETTINGS._replace(max_inflight_appends=int(window), max_append_bytes=int(bytes))
        self.cluster = Cluster(numbers(",".join(voters)), numbers(learners), numbers(outside), settings)

    def do_elect(self, member: str) -> None:
        self.cluster.elect(int(member))

    def do_campaign(self, member: str) -> None:
        """Tick until it asks somebody for something."""
        for _ in range(100):
            waiting = len(self.cluster.network)
            self.cluster.tick(int(member))
            if len(self.cluster.network) > waiting:
                return
        raise AssertionError(f"{member} does not campaign")

    def do_deaf(self, *members: str) -> None:
        for member in members:
            self.cluster.deafen(int(member))

    def do_tick(self, member: str, count: str = "1") -> None:
        self.cluster.tick(int(member), int(count))

    def do_pass(self, ticks: str) -> None:
        self.cluster.pass_time(int(ticks))

    def do_crash(self, member: str, kept: str = "0") -> None:
        self.cluster.crash(int(member), int(kept))

    def do_start(self, member: str, how: str = "") -> None:
        self.cluster.start(int(member), how == "recovering")

    def do_replace(self, member: str) -> None:
        self.cluster.replace_disk(int(member))

    # -- requests ---------------------------------------------------------------------------------------------

    def do_propose(self, member: str, data: str) -> list[str] | None:
        return self._asked(member, self.cluster.up(int(member)).propose(data.encode()) is not None)

    def do_configure(self, member: str, voters: str, learners: str = "") -> list[str] | None:
        target = Configuration(tuple(numbers(voters)), (), tuple(numbers(learners)))
        return self._asked(member, self.cluster.up(int(member)).propose_configuration(target) is not None)

    def do_read(self, member: str, context: str) -> list[str] | None:
        self.cluster.ghosts.read_asked(int(context))
        return self._asked(member, self.cluster.up(int(member)).read_index(int(context)))

    def do_transfer(self, member: str, to: str) -> list[str] | None:
        return self._asked(member, self.cluster.up(int(member)).transfer_leadership(int(to)))

    def do_unreachable(self, member: str, peer: str) -> None:
        self.cluster.up(int(member)).peer_unreachable(int(peer))
        self.cluster.pump(int(member))

    def do_down(self, member: str, peer: str) -> None:
        self.cluster.up(int(member)).peer_down(int(peer))
        self.cluster.pump(int(member))

    def _asked(self, member: str, taken: bool) -> list[str] | None:
        self.cluster.pump(int(member))
        return None if taken else ["refused"]

    # -- network ----------------------------------------------------------------------------------------------

    def do_deliver(self, link: str, kind: str = "", count: str = "1000") -> list[str] | None:
        done = 0
        position = 0
        waiting = list(self.cluster.network)
        for letter in waiting:
            if done < int(count) and is_on(link, kind, letter):
                position = self.cluster.network.index(letter)
                self.cluster.deliver(position)
                self.cluster.pump(letter[1])
                done += 1
        return None if done else ["nothing to deliver"]

    def do_drop(self, link: str, kind: str = "") -> list[str]:
        return [f"dropped {letter_in_words(letter)}" for letter in self._take(link, kind)]

    def do_hold(self, link: str, kind: str = "") -> list[str]:
        taken = self._take(link, kind)
        self.aside += taken
        return [f"put aside {letter_in_words(letter)}" for letter in taken]

    def do_copy(self, link: str, kind: str = "") -> list[str]:
        copied = [letter for letter in self.cluster.network if is_on(link, kind, letter)]
        self.aside += copied
        return [f"copied {letter_in_words(letter)}" for letter in copied]

    def do_release(self) -> list[str]:
        released, self.aside = self.aside, []
        self.cluster.network = released + self.cluster.network
        return [f"back comes {letter_in_words(letter)}" for letter in released]

    def _take(self, link: str, kind: str) -> list[tuple[int, int, Message]]:
        return self.cluster.take(lambda *letter: is_on(link, kind, letter))

    def do_network(self) -> list[str]:
        return [letter_in_words(letter) for letter in self.cluster.network]

    def do_cut(self, link: str) -> None:
        if ">" in link:
            sender, to = link.split(">")
            self.cluster.cut[int(sender), int(to)] = True
        else:
            self.cluster.isolate(int(link))

    def do_heal(self) -> None:
        self.cluster.heal()

    def do_settle(self) -> None:
        self.cluster.settle()

    # -- disks ------------------------------------------------------------------------------------------------

    def do_sync(self, member: str, count: str = "1000") -> list[str] | None:
        done = self.cluster.sync(int(member), int(count))
        self.cluster.pump(int(member))
        return None if done else ["nothing to sync"]

    def do_stall(self, member: str) -> None:
        self.cluster.stalled[int(member)] = True

    def do_unstall(self, member: str) -> None:
        self.cluster.stalled[int(member)] = False

    def do_snapshot(self, member: str, keep: str = "0") -> None:
        self.cluster.snapshot(int(member), int(keep))
        self.cluster.pump(int(member))

    def do_by_hand(self) -> None:
        self.cluster.auto_install = False

    def do_install(self, member: str, how: str = "") -> None:
        self.cluster.install(int(member), good=how != "bad")
        self.cluster.pump(int(member))

    # -- looking ----------------------------------------------------------------------------------------------

    def do_status(self, *members: str) -> list[str]:
        lines = []
        for member in members:
            status = self.cluster.up(int(member)).status()
            lines.append(
                f"{member}: {status.role} term {status.term} vote {status.vote} leader {status.leader}"
                f" log {status.first_index}..{status.last_index} persisted {status.persisted_index}"
                f" commit {status.commit_index}{' recovering' if status.recovering else ''}"
            )
            voters, outgoing, learners, learners_next = status.configuration
            lines.append(
                f"   voters {voters} outgoing {outgoing} learners {learners} learners_next {learners_next}"
            )
            lines += [
                f"   {peer.peer}: {peer.state} match {peer.match_index} next {peer.next_index}"
                f" in flight {peer.inflight_appends}{' recovering' if peer.recovering else ''}"
                for peer in status.peers
            ]
        return lines

    def do_log(self, member: str) -> list[str]:
        log = self.cluster.up(int(member))._state.log
        entries = log.slice(log.first_index, log.last_index) if log.last_index >= log.first_index else []
        return [", ".join(entry_in_words(entry) for entry in entries) or "no entries in memory"]


def numbers(words: str) -> list[int]:
    return [int(word) for word in words.split(",") if word]


def letter_in_words(letter: tuple[int, int, Message]) -> str:
    sender, to, message = letter
    return f"{sender}>{to} {message_in_words(message)}"


def is_on(link: str, kind: str, letter: tuple[int, int, Message]) -> bool:
    sender, to = link.split(">")
    return (
        sender in ("*", str(letter[0]))
        and to in ("*", str(letter[1]))
        and (not kind or type(letter[2]).__name__ == kind)
    )


def replay(text: str) -> str:
    """The script with the outputs that its commands really have."""
    script = Script()
    result: list[str] = []
    skipping = False
    for line in text.splitlines():
        if skipping:
            skipping = line != ""
        elif line.startswith("#") or not line:
            if line or (result and result[-1] != ""):
                result.append(line)
        elif line == "----":
            skipping = True
        else:
            check(not line.startswith(" "), "a command stands at the beginning of its line", line)
            result += [line, "----", *script.run(line), ""]
    return "\n".join(result).rstrip("\n") + "\n"
