"""Some members in this process, and everything that can happen to them."""

import atexit
import logging
import tempfile
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

from coord.api.errors import InvalidRequest, Unavailable
from coord.limits import MemberLimits, StoreLimits, limit_names
from coord.server.config import Config, ConfigError, load_config
from coord.server.member import Cut
from coord.testing.cuts import Direction, can_lead, cut_more, without_peer
from coord.testing.life import PATIENCE_S, log
from coord.testing.member import HostedMember
from coord.testing.ports import ReservedPorts

MEMBERS_MAX: Final = 9
ELECTION_MIN_S: Final = 0.015
ELECTION_MAX_S: Final = 60.0
SESSION_TIMEOUT_MIN_MS: Final = 100
"""A tenth of what members grant elsewhere: a test need not wait for a second until a session ends."""


class Cluster:
    """What :func:`cluster` and the fixtures give: members 1, 2, … on ports of 127.0.0.1, each with a data folder.

    ``n`` is the number of a member; in a cluster of one it can be left out. Methods return when it is done, after a few
    milliseconds, and can be called in any thread, also in that of an event loop. Raises
    :class:`~coord.api.errors.InvalidRequest` (refused) where there is no such member, or it does not run.
    """

    def __init__(self, configs: list[Config]) -> None:
        self._news = threading.Condition()
        self._acting = threading.RLock()
        self._members = {each.member: HostedMember(each, self._news, self._acting) for each in configs}

    @property
    def endpoints(self) -> list[str]:
        """Where clients connect, ``host:port`` of each member, for ``connect(…)``."""
        return [member.endpoint for member in self._members.values()]

    @property
    def members(self) -> list[HostedMember]:
        return list(self._members.values())

    def member(self, n: int | None = None) -> HostedMember:
        """One of them: ``cluster.member(2).endpoint``, ``cluster.member(2).running``."""
        if n is None:
            if len(self._members) > 1:
                raise InvalidRequest(f"which member? This cluster has {self._numbers()}")
            n = 1
        if n not in self._members:
            raise InvalidRequest(f"there is no member {n!r}: this cluster has {self._numbers()}")
        return self._members[n]

    # --- what can happen to a member ------------------------------------------------------------

    def pause(self, n: int | None = None) -> None:
        """Hold a member still, as SIGSTOP does a process: connections stay open, and nothing is answered."""
        self.member(n).pause()

    def resume(self, n: int | None = None) -> None:
        """Let it go on after a pause; harmless when it does."""
        self.member(n).resume()

    def kill(self, n: int | None = None) -> None:
        """End it as kill -9 does: no goodbye, connections just end, what was not synced yet is nobody's promise."""
        self.member(n).kill()

    def stop(self, n: int | None = None) -> None:
        """Stop it as an operator does: its clients are told to go elsewhere."""
        self.member(n).stop()

    def restart(self, n: int | None = None) -> None:
        """Start it again, with its data, after :meth:`kill` or :meth:`stop`; one that runs is stopped first."""
        self.member(n).restart()

    def cut_off(
        self,
        n: int | None = None,
        *,
        peers: bool | Collection[int] = True,
        clients: bool = True,
        direction: Direction = "both",
    ) -> None:
        """Lose what is said to and by a member: connections stay open, in silence, until :meth:`heal`.

        ``peers``: the other members, or none of them, or these. ``clients``: all of its clients. ``direction``:
        ``"in"`` loses only what the member is told, ``"out"`` only what it says (so a client's request is done, and
        its reply lost). Cuts add up. They outlive a restart.
        """
        member = self.member(n)
        if direction not in ("both", "in", "out"):
            raise InvalidRequest(f'direction is "both", "in" or "out", not {direction!r}')
        others = self._members.keys() - {member.number}
        if not isinstance(peers, bool):
            for peer in peers:
                if self.member(peer) is member:
                    raise InvalidRequest(f"member {peer} cannot be cut off from itself")
        chosen = (others if peers else ()) if isinstance(peers, bool) else peers
        with self._acting:
            member.set_cut(cut_more(member.cut, chosen, clients, direction))

    def heal(self, n: int | None = None) -> None:
        """Undo all cuts between member ``n`` and whomsoever; without ``n`` all there are."""
        healed = self.members if n is None else [self.member(n)]
        with self._acting:
            for member in healed:
                member.set_cut(Cut())
                for other in self.members:
                    other.set_cut(without_peer(other.cut, member.number))

    # --- the leader -----------------------------------------------------------------------------

    def leader(self) -> int | None:
        """The number of the member that leads, ``None`` when there is none.

        It runs, is not paused, hears a majority and is heard by it. (A leader that was just cut off takes itself
        for one for a while longer; it is not what is meant here.)
        """
        with self._news:
            return self._leader()

    def wait_leader(self, timeout: float = 10.0) -> int:
        """Wait until there is a leader, and return its number.

        Raises :class:`~coord.api.errors.Unavailable` (refused) after ``timeout`` seconds.
        """
        with self._news:
            self._news.wait_for(lambda: self._leader() is not None, timeout)
            leader = self._leader()
        if leader is None:
            raise Unavailable(f"no leader in {timeout:g} s: {self!r}")
        return leader

    def _leader(self) -> int | None:
        cuts = {number: member.cut for number, member in self._members.items()}
        awake = [number for number, member in self._members.items() if member.running and not member.paused]
        terms = {
            number: life.term
            for number, member in self._members.items()
            if (life := member.life) is not None and life.leader == number and can_lead(number, cuts, awake)
        }
        return max(terms, key=terms.__getitem__, default=None)

    # --- for cluster() --------------------------------------------------------------------------

    def _start(self) -> None:
        lives = [member.begin() for member in self.members]
        with self._news:
            self._news.wait_for(
                lambda: all(life.serving for life in lives) or any(life.over for life in lives), PATIENCE_S
            )
        lives.sort(key=lambda life: not life.over)  # one that failed can tell why; the others wait for it
        for life in lives:
            life.wait_serving(time.monotonic())
        self.wait_leader(PATIENCE_S)
        with self._news:
            self._news.wait_for(lambda: any(life.limited or life.over for life in lives), PATIENCE_S)

    def _close(self) -> None:
        """Stop all that run, together. Raises what ended a member that nobody had ended, if nobody was told yet."""
        with self._acting:
            for member in self.members:
                member.begin_stop()
            for member in self.members:
                member.end_stop()
        for member in self.members:
            if member.life is not None:
                member.life.raise_error()

    def _numbers(self) -> str:
        return "member 1" if len(self._members) == 1 else f"members 1 to {len(self._members)}"

    def __repr__(self) -> str:
        return f"<coord cluster: {', '.join(map(repr, self._members.values()))}>"


@contextmanager
def cluster(
    members: int = 3,
    *,
    election_timeout: float = 0.1,
    limits: Mapping[str, int] | None = None,
    folder: Path | None = None,
) -> Iterator[Cluster]:
    """A fresh cluster for the length of a block: ``with cluster(3) as c: …``, elected and serving when it begins.

    ``election_timeout``: seconds after which a silent leader is replaced (by one to two times as much). ``limits``: any
    of those in :mod:`coord.limits`, by name (``{"history_revisions": 10}``). ``folder``: for the data, and to stay;
    without it, the data is in a temporary folder and gone at the end.

    Raises :class:`~coord.api.errors.InvalidRequest` (refused) for arguments that cannot be. The end of the block
    raises what ended a member that the test had not ended: a bug in coord, which a test should not pass over.
    """
    if not isinstance(members, int) or not 1 <= members <= MEMBERS_MAX:
        raise InvalidRequest(f"members: 1 to {MEMBERS_MAX}, not {members!r}")
    if not ELECTION_MIN_S <= election_timeout <= ELECTION_MAX_S:
        raise InvalidRequest(
            f"election_timeout: {ELECTION_MIN_S:g} to {ELECTION_MAX_S:g} seconds, not {election_timeout!r}"
        )
    if log.level == logging.NOTSET:
        log.setLevel(logging.INFO)  # so that a failing test shows who led when
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="coord-")))
        ports = stack.enter_context(ReservedPorts(2 * members)).numbers
        made = Cluster(_configs(members, ports, folder, election_timeout, limits or {}))
        # For a block that is never left, as in an interactive session. (Its end would come when threads run no more.)
        atexit.register(made._close)
        try:
            made._start()
            yield made
        finally:
            atexit.unregister(made._close)
            made._close()


def _configs(
    members: int, ports: list[int], folder: Path, election_timeout: float, limits: Mapping[str, int]
) -> list[Config]:
    rows = [
        {"id": n, "client": f"127.0.0.1:{ports[2 * n - 2]}", "peer": f"127.0.0.1:{ports[2 * n - 1]}"}
        for n in range(1, members + 1)
    ]
    election_ms = round(election_timeout * 1000)
    tick_ms = min(election_ms // 15, 20)
    given: dict[str, Any] = {
        "members": rows,
        "timing": {"tick_ms": tick_ms, "heartbeat_ms": 3 * tick_ms, "election_ms": election_ms},
        "limits": {name: value for name, value in limits.items() if name in limit_names(MemberLimits)},
        "store_limits": {"session_timeout_min_ms": SESSION_TIMEOUT_MIN_MS},
    }
    for name, value in limits.items():
        if name not in given["limits"]:
            given["store_limits"][name] = value  # or refused below, if there is no such limit at all
    try:
        return [
            load_config(None, {**given, "member": n, "data": folder / f"member-{n}"})
            for n in range(1, members + 1)
        ]
    except ConfigError as error:
        known = ", ".join(limit_names(StoreLimits) + limit_names(MemberLimits))
        raise InvalidRequest(f"{error}; limits are: {known}") from error
