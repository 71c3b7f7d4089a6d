"""``coord dev``: a three-member cluster on this machine, for trying things out; what ``make run`` runs."""

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Final

import trio
import typer

from coord.api.errors import CoordError
from coord.cli.exits import OK, STORAGE, USAGE
from coord.client import connect
from coord.server.config import PEER_PORT_OFFSET

MEMBERS: Final = 3
STOP_S: Final = 10.0
RESTART_FIRST_S: Final = 0.2
RESTART_MAX_S: Final = 5.0
"""Between one that dies before it serves and its next try. One that served is back at once."""
STEADY_S: Final = 10.0
"""Whoever says sooner than that that it cannot run will say so again."""


def dev(
    data: Annotated[Path, typer.Option(help="The folder of the members' data folders.")] = Path("coord-run"),
    port: Annotated[
        int, typer.Option(help="The first client port; the others follow.", min=1, max=65500)
    ] = 4711,
) -> None:
    """Run three members on 127.0.0.1 until Ctrl-C; a member that dies is restarted."""
    code = OK
    try:
        trio.run(_supervise, data, port)
    except* _CannotRun as group:
        typer.echo(f"coord dev: {group.exceptions[0]}", err=True)
        code = USAGE
    if code:
        raise typer.Exit(code)


class _CannotRun(Exception):
    """Restarting would not help."""


async def _supervise(data: Path, port: int) -> None:
    members = ",".join(f"{number}=127.0.0.1:{port + number - 1}" for number in range(1, MEMBERS + 1))
    endpoints = [f"127.0.0.1:{port + number}" for number in range(MEMBERS)]
    for number in range(port, port + MEMBERS):
        _check_free(number)
        _check_free(number + PEER_PORT_OFFSET)
    up = [trio.Event() for _ in endpoints]
    typer.echo(f"three members on {', '.join(endpoints)}; data in {data}/")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_stop_on_signal, nursery.cancel_scope)
        for number in range(1, MEMBERS + 1):
            command = [
                *(sys.executable, "-m", "coord", "serve", "--member", str(number), "--members", members),
                *("--data", str(data / f"member-{number}"), "--quiet"),
            ]
            nursery.start_soon(_keep_running, number, command, endpoints[number - 1], up[number - 1])
        nursery.start_soon(_announce, endpoints, up)
    typer.echo("stopped; the data stays, and the next run finds it again")


def _check_free(port: int) -> None:
    """Raise :class:`_CannotRun` if somebody listens there. Else those who do would be taken for the members started
    here, which find their ports in use only a second later."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise _CannotRun(
                f"127.0.0.1:{port}: the port is in use (by another cluster that still runs?); --port takes others"
            ) from None


async def _announce(endpoints: list[str], up: list[trio.Event]) -> None:
    """Say what to do next, once the cluster does it."""
    started = time.monotonic()
    for each in up:
        await each.wait()
    typer.echo(f"up after {time.monotonic() - started:.1f} s. In another terminal, try:")
    given = "" if endpoints[0].endswith(":4711") else f" -e {endpoints[0]}"
    for line in (
        "coord status",
        "coord create /hello world",
        "coord get /hello",
        "coord watch / --subtree",
    ):
        typer.echo(f"    {Path(sys.executable).parent / line}{given}")
    typer.echo("Ctrl-C here stops all three.")


async def _see_it_serve(number: int, endpoint: str, up: trio.Event, serves: trio.Event) -> None:
    await _until_serving(endpoint)
    if up.is_set():
        typer.echo(f"member {number} is up again")
    up.set()
    serves.set()


async def _until_serving(endpoint: str) -> None:
    """Until a linearizable read is answered there: the member serves, and the cluster has a leader."""
    while True:
        try:
            async with connect(
                endpoint, session=False, discover=False, name="coord dev", deadline=5.0
            ) as client:
                await client.exists("/")
                return
        except CoordError:
            await trio.sleep(0.05)  # it is starting: nothing tells us but trying


async def _keep_running(number: int, command: list[str], endpoint: str, up: trio.Event) -> None:
    """One member, for as long as the supervisor lives. ``up`` is set once it serves."""
    pause_s = RESTART_FIRST_S
    while True:
        started = time.monotonic()
        serves = trio.Event()
        # A group of its own: Ctrl-C reaches the supervisor only, which then stops the members in order.
        process = await trio.lowlevel.open_process(command, start_new_session=True, stdin=subprocess.DEVNULL)
        try:
            async with trio.open_nursery() as life:
                life.start_soon(_see_it_serve, number, endpoint, up, serves)
                code = await process.wait()
                life.cancel_scope.cancel()
        finally:
            if process.returncode is None:
                with trio.CancelScope(shield=True):
                    await _stop(process)
        if code in (USAGE, STORAGE) and time.monotonic() - started < STEADY_S:
            raise _CannotRun(f"member {number} cannot run; the line above says why")
        if serves.is_set():
            pause_s = RESTART_FIRST_S
        typer.echo(f"member {number} {_how(code)}; restarting it in {pause_s:.1f} s")
        await trio.sleep(pause_s)
        pause_s = min(pause_s * 2, RESTART_MAX_S)


async def _stop(process: trio.Process) -> None:
    process.terminate()
    with trio.move_on_after(STOP_S):
        await process.wait()
        return
    process.kill()
    await process.wait()


def _how(code: int) -> str:
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


async def _stop_on_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            typer.echo("stopping")
            scope.cancel()
            return
