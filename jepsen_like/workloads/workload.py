"""What a workload is, and the steps that its processes are made of. Sans IO: whoever drives them has the clock.

A process is a generator. It yields a step, and receives what became of it::

    def process(self, me: Process) -> Script:
        while True:
            outcome = yield Set("/x", me.fresh())            # a history.Operation
            if outcome.outcome == "ok":
                yield Read(Get("/x"), "at_least", outcome.revision)
            yield Pause(me.dice.randint(1, 50))
"""

from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final, Protocol, TypeAlias

from coord.api import ops
from coord.jepsen_like.checkers.violation import Violation
from coord.jepsen_like.history import Record, WatchTold

LINEARIZABLE: Final = "linearizable"
AT_LEAST: Final = "at_least"
LOCAL: Final = "local"

Check: TypeAlias = Callable[[Sequence[Record]], list[Violation]]


@dataclass(frozen=True, slots=True)
class Read:
    """A read of a mode; a bare ``Get``, ``Exists``, ``List``, ``Claims`` or ``ClaimInfo`` is a linearizable one.

    Outcome: its ``Operation``.
    """

    op: ops.Get | ops.Exists | ops.List | ops.Claims | ops.ClaimInfo
    mode: str = LINEARIZABLE
    at_least: int = 0


Ask: TypeAlias = ops.Op | Read
"""What is answered with an ``Operation``."""


@dataclass(frozen=True, slots=True)
class Together:
    """Asked at once, without waiting for one another. Outcome: a list of ``Operation``, in the order of ``asks``."""

    asks: tuple[Ask, ...]


@dataclass(frozen=True, slots=True)
class DropReplies:
    """As :class:`Together`, and once the requests have left the connection is dropped: the session moves to another
    member, and what was asked is asked again there. While there is no connection this is a plain ``Together``."""

    asks: tuple[Ask, ...]


@dataclass(frozen=True, slots=True)
class Pause:
    """Outcome: ``None``, after so long."""

    ms: int


@dataclass(frozen=True, slots=True)
class Watch:
    """Outcome: a :class:`Watched`, once it is open or could not be opened."""

    path: str
    scope: str = "subtree"
    """``znode``, ``children`` or ``subtree``; with ``+claims``, changes of claims there are told, too."""
    from_revision: int | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """For news of a watch. Outcome: what it was told and was not waited for yet, as a list of ``WatchTold``; empty
    after ``ms``, or when the watch is over."""

    watched: "Watched"
    ms: int


@dataclass(frozen=True, slots=True)
class Unwatch:
    """Outcome: ``None``."""

    watched: "Watched"


@dataclass(frozen=True, slots=True)
class AwaitGrant:
    """For the grant of a claim of the present session. Outcome: its :class:`~coord.client.core.claims.OwnClaim`, after
    ``ms`` at the latest: held if it has a token; ``None``: it is over, or was given up, or the session is."""

    number: int
    ms: int


@dataclass(frozen=True, slots=True)
class EndSession:
    """Outcome: ``None``, once it has ended; what comes after is asked under a new session."""


@dataclass(frozen=True, slots=True)
class MoveAway:
    """Drop the connection and go to another member. Outcome: ``None``, at once; what comes after waits for it."""


@dataclass(frozen=True, slots=True)
class Say:
    """A note in the history, for the workload's own check. Outcome: ``None``."""

    what: str
    facts: dict[str, Any] = field(default_factory=dict)
    """Plain JSON values."""


Step: TypeAlias = (
    Ask | Together | DropReplies | Pause | Watch | Wait | Unwatch | AwaitGrant | EndSession | MoveAway | Say
)

Script: TypeAlias = Generator[Step, Any, None]


@dataclass(slots=True, eq=False)
class Watched:
    """A watch of a process, as it stands."""

    number: int
    path: str
    scope: str
    over: str | None = None
    """Why it is over: an error's slug, or empty if it was given up. ``None`` while it goes on."""
    told: int | None = None
    """Everything through this revision was told; ``told + 1`` is where another watch goes on."""
    first_revision: int = 0
    """After a ``gap``: the first revision from which a watch can start."""
    news: list[WatchTold] = field(default_factory=list)
    """Told, and not waited for yet."""


@dataclass(slots=True)
class Process:
    """What a process knows of itself. The driver keeps the facts from ``revision`` on up to date."""

    number: int
    """At least 0, unique in the history."""
    dice: Random
    facts: dict[str, Any] = field(default_factory=dict)
    """Shared by all processes of a run: how one hands something to another behind coord's back."""
    has_session: bool = True
    """Without one it can read and watch; a write is refused."""
    revision: int = 0
    """The greatest that it was shown."""
    session: int = 0
    """The present one; 0 before the first."""
    _made: int = 0

    def fresh(self) -> bytes:
        """A value that nobody else writes in this run."""
        self._made += 1
        return b"%d.%d" % (self.number, self._made)


class Workload(Protocol):
    """What clients do, and what judges it. One object serves one run, and holds no state of a process."""

    @property
    def name(self) -> str: ...

    @property
    def checks(self) -> tuple[Check, ...]:
        """Beside those that judge every history."""

    def setup(self) -> Iterable[Step]:
        """By one process, before the others begin and before any fault."""

    def process(self, me: Process) -> Script:
        """Goes on until it is stopped, unless it ends of itself."""

    def finish(self, me: Process) -> Script:
        """By one process, after the others have stopped and the faults have healed: the last reads."""


Factory: TypeAlias = Callable[[Random], Workload]
"""Makes a workload of drawn sizes (how many keys, which mix): equal dice, equal workload."""
