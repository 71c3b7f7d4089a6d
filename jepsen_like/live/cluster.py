"""A throw-away cluster on loopback: members as processes, their folders, and a proxy for each link between them."""

import random
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

import trio

from coord.api.errors import CoordError
from coord.cli.exits import USAGE
from coord.client import connect
from coord.jepsen_like.live.links import CLIENTS, Links
from coord.jepsen_like.live.process import MemberProcess

UP_S: Final = 60.0
"""For all members to serve, from a cold start on a busy machine."""
RESTART_S: Final = 0.5
"""As an operator's supervisor would: a member that ended by itself is started again after so long."""
PORTS: Final = (20_000, 32_000)
"""Below what the kernel takes for outgoing connections: a dead member's port must not be taken by a client's."""


@dataclass(frozen=True, slots=True)
class Death:
    """A member ended by itself."""

    member: int
    code: int
    at_ns: int
    allowed: bool
    """A nemesis had said that it may."""
    last_words: str


class NotUp(Exception):
    """The cluster did not come to serve; the text has what the members said last."""


class Cluster:
    """``size`` members with data below ``folder``. ``async with``: at its end they are all gone."""

    def __init__(self, folder: Path, size: int, dice: Random, *, config: str = "") -> None:
        """``config``: tables (TOML) that every member's configuration ends with."""
        self.members = tuple(range(1, size + 1))
        self.folder = folder
        self.deaths: list[Death] = []
        self.held_down: dict[int, None] = {}
        """Members that are not to be started now."""
        self.may_die: dict[int, None] = {}
        """Members of which a nemesis expects that they end by themselves."""
        ports = _free_ports(2 * size)
        self.client_ports = dict(zip(self.members, ports[:size], strict=True))
        self._peer_ports = dict(zip(self.members, ports[size:], strict=True))
        self.links = Links(self._peer_ports, self.client_ports, dice)
        self.processes = {member: self._process(member) for member in self.members}
        self._config = config

    def data(self, member: int) -> Path:
        """The member's data folder."""
        return self.folder / f"member-{member}"

    @property
    def endpoints(self) -> dict[int, str]:
        """Where clients reach each member: through its link."""
        return {member: f"127.0.0.1:{self.links[CLIENTS, member].port}" for member in self.members}

    def address(self, member: int) -> str:
        """Where the member listens for clients itself: for those who look on and must not be cut off."""
        return f"127.0.0.1:{self.client_ports[member]}"

    async def open(self) -> None:
        """Take the links' ports and write the configurations: from here on members can be started."""
        await self.links.listen()
        for member in self.members:
            path = self.folder / f"member-{member}.toml"
            path.write_text(self._toml(member), "utf-8")

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve the links, start the members, and restart those that end by themselves; until cancelled, and then kill
        them all."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.links.run)
                for process in self.processes.values():
                    process.start()
                    nursery.start_soon(self._supervise, process)
                task_status.started()
        finally:
            for process in self.processes.values():
                await process.kill()

    async def wait_up(self, seconds: float = UP_S) -> None:
        """Until every member answers a linearizable read. Raises :class:`NotUp`."""
        with trio.move_on_after(seconds):
            for member in self.members:
                await self._until_serving(member)
            return
        words = "\n".join(
            f"member {member}: {_last_words(process.said())}" for member, process in self.processes.items()
        )
        raise NotUp(f"not all members served within {seconds:g} s\n{words}")

    def start(self, member: int) -> None:
        """Start it again, and let it run."""
        self.held_down.pop(member, None)
        self.processes[member].start()

    async def kill(self, member: int) -> None:
        """kill -9, and hold it down until :meth:`start`."""
        self.held_down[member] = None
        await self.processes[member].kill()

    # --- inside ---

    async def _supervise(self, process: MemberProcess) -> None:
        start = 0
        while True:
            start = await process.started_after(start)
            code = await process.ended()
            if start in process.killed:
                continue
            allowed = process.member in self.may_die
            self.deaths.append(
                Death(process.member, code, time.monotonic_ns(), allowed, _last_words(process.said()))
            )
            await trio.sleep(RESTART_S)
            if process.member not in self.held_down:
                process.start()

    async def _until_serving(self, member: int) -> None:
        while True:
            try:
                async with connect(
                    self.address(member), session=False, discover=False, name="torture", deadline=5.0
                ) as client:
                    await client.exists("/")
                    return
            except CoordError:
                for death in self.deaths:
                    if death.code == USAGE:  # its configuration cannot be used: trying again would not help
                        raise NotUp(f"member {death.member} cannot run: {death.last_words}") from None
                await trio.sleep(0.05)  # it is starting: nothing tells us but trying

    def _process(self, member: int) -> MemberProcess:
        return MemberProcess(
            member,
            ["--config", str(self.folder / f"member-{member}.toml")],
            self.folder / f"member-{member}.log",
            {},
        )

    def _toml(self, member: int) -> str:
        """A configuration of its own for each: it reaches the others through its own links."""
        lines = [
            f"member = {member}",
            f'data = "{self.data(member)}"',
            f'listen = "{self.address(member)}"',
            f'peer_listen = "127.0.0.1:{self._peer_ports[member]}"',
        ]
        for other in self.members:
            peer = self._peer_ports[other] if other == member else self.links[member, other].port
            lines += [
                "[[members]]",
                f"id = {other}",
                f'client = "{self.endpoints[other]}"',
                f'peer = "127.0.0.1:{peer}"',
            ]
        return "\n".join([*lines, self._config]) + "\n"


def _last_words(said: str, lines: int = 12) -> str:
    return "\n".join(said.splitlines()[-lines:])


def _free_ports(count: int) -> Sequence[int]:
    """Ports that nobody listens on, held together while they are looked for, so that they differ."""
    held: list[socket.socket] = []
    draw: Callable[[], int] = lambda: random.SystemRandom().randrange(*PORTS)  # noqa: E731
    try:
        while len(held) < count:
            each = socket.socket()
            try:
                each.bind(("127.0.0.1", draw()))
            except OSError:
                each.close()
                continue
            held.append(each)
        return [each.getsockname()[1] for each in held]
    finally:
        for each in held:
            each.close()
