"""What the observer knows of one member, and what a quorum is."""

from coord.raft.types import Configuration, Entry, HardState


def majority_of(members: tuple[int, ...], agreeing: dict[int, None]) -> bool:
    return 2 * len([each for each in members if each in agreeing]) > len(members)


def is_quorum(configuration: Configuration, agreeing: dict[int, None]) -> bool:
    """A majority of the voters, in joint consensus also of the outgoing ones."""
    if configuration.outgoing and not majority_of(configuration.outgoing, agreeing):
        return False
    return majority_of(configuration.voters, agreeing)


class Ghost:
    """What the observer knows of one member."""

    __slots__ = (
        "commit_index",
        "durable",
        "durable_state",
        "ever",
        "held",
        "installed_index",
        "leads",
        "reads_asked",
        "recovery_asked",
        "replica_term",
        "voted",
    )

    def __init__(self) -> None:
        self.held: list[Entry] = []
        """Its log from index 1 on, as it handed it to its disk."""
        self.durable: list[Entry] = []
        """As it is on its disk, synced."""
        self.durable_state = HardState(0, 0)
        self.ever: dict[tuple[int, int], None] = {}
        """``(index, term)`` of all that it ever had on its disk: what its acknowledgements may rest on, even if the
        disk was lost since."""
        self.installed_index = 0
        """Of the newest snapshot of a leader that it ever had on its disk."""
        self.commit_index = 0
        self.replica_term = 0
        self.leads = False
        self.voted = HardState(0, 0)
        """The last vote that it gave to another."""
        self.recovery_asked: int | None = None
        """What was committed anywhere when it first asked, in this life, how to become whole again."""
        self.reads_asked: dict[int, int] = {}
        """By the number of a round of reads that it asked for: what was committed anywhere at that moment."""
