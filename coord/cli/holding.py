"""Commands that run another command while they hold a lock, or lead."""

import os
import signal
import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from math import inf
from pathlib import Path
from typing import Annotated, Final, Protocol

import anyio
import anyio.abc
import typer

from coord.api.errors import DeadlineExceeded
from coord.api.tokens import Token
from coord.cli.child import PASSED_ON, Child
from coord.cli.exits import LOST, NOT_A_COMMAND, NOT_ACQUIRED, NOT_EXECUTABLE, SIGNALLED
from coord.cli.options import EndpointsOption, endpoints_or_default
from coord.cli.running import CONNECT_DEADLINE_S, run_plain
from coord.client import Client, connect
from coord.recipes.election import Election
from coord.recipes.lock import Lock
from coord.recipes.rwlock import ReadWriteLock
from coord.recipes.scope import Lost

SESSION_SHARE: Final = 3
"""So many keepalives are answered in a session's time. A grace that is longer than one takes would end all commands."""

PathArgument = Annotated[str, typer.Argument(help="What to claim.", show_default=False)]
CommandArgument = Annotated[
    list[str], typer.Argument(metavar="-- COMMAND", help="What to run.", show_default=False)
]
DeadlineOption = Annotated[
    float | None, typer.Option("--deadline", min=0, help="Seconds to wait for it (else for ever).")
]
NoWaitOption = Annotated[bool, typer.Option("--no-wait", help="Have it at once, or not at all.")]
LabelOption = Annotated[
    str | None, typer.Option("--label", help="For people who look (else the command's name).")
]
GraceOption = Annotated[
    float | None,
    typer.Option(
        "--grace",
        min=0,
        help="Seconds between SIGTERM and SIGKILL, when the claim is lost (else a fifth of --session-timeout).",
    ),
]
SessionOption = Annotated[
    float,
    typer.Option("--session-timeout", min=0.1, help="Seconds of silence after which the claim is over."),
]


class Claimed(Protocol):
    """What is held while the command runs."""

    @property
    def token(self) -> Token: ...
    def remaining(self) -> float: ...


Hold = Callable[[Client], AbstractAsyncContextManager[Claimed]]


def lock(
    path: PathArgument,
    command: CommandArgument,
    shared: Annotated[
        bool, typer.Option("--shared", help="Together with others who share it (a read lock).")
    ] = False,
    deadline: DeadlineOption = None,
    no_wait: NoWaitOption = False,
    label: LabelOption = None,
    grace: GraceOption = None,
    session_timeout: SessionOption = 10.0,
    endpoints: EndpointsOption = None,
) -> None:
    """Wait for a lock, and run a command while it is held.

    coord lock /locks/backup -- ./backup --full

    The command finds in its environment COORD_LOCK_PATH, COORD_TOKEN (the
    fencing token's revision), COORD_TOKEN_INCARNATION, COORD_FENCING_TOKEN
    (both, as guards of resources take them: 1-4711), and COORD_FENCING_TOKENS
    (that, behind those of coord lock around this one). Signals are passed on.

    When the lock is about to be lost (no member answers, and the session's
    time is over but for --grace), or was taken away, the command is sent
    SIGTERM, and SIGKILL after --grace. So it has ended before anybody else has
    the lock; but not if that was taken by force, or if this process itself was
    stopped or did not get to run: then it is for the token to keep out what
    the command still does.

    The exit code is the command's; 128 and the signal's number, if one ended
    it; 124: the lock was not to be had in time, and the command was not run;
    125: the lock was lost, and the command was ended; 126, 127: it can't be
    run, or there is none; 2, 5: wrong usage, no member answers.
    """
    words, wait = _label(label, command), _seconds(deadline, no_wait)

    def hold(client: Client) -> AbstractAsyncContextManager[Claimed]:
        kind = ReadWriteLock(client, path, label=words).read if shared else Lock(client, path, label=words)
        return kind.hold(deadline=wait)

    _run(f"the lock {path}", path, hold, command, wait, grace, session_timeout, endpoints)


def elect(
    path: PathArgument,
    command: CommandArgument,
    deadline: DeadlineOption = None,
    no_wait: NoWaitOption = False,
    label: LabelOption = None,
    grace: GraceOption = None,
    session_timeout: SessionOption = 10.0,
    endpoints: EndpointsOption = None,
) -> None:
    """Stand for election, and run a command while this candidate leads.

    coord elect /leaders/billing -- ./billing

    As coord lock, with its environment and exit codes; --label is what
    observers of the election are told of this candidate.
    """
    words, wait = _label(label, command), _seconds(deadline, no_wait)

    def hold(client: Client) -> AbstractAsyncContextManager[Claimed]:
        return Election(client, path, words).lead(deadline=wait)

    _run(f"the leadership of {path}", path, hold, command, wait, grace, session_timeout, endpoints)


def _label(label: str | None, command: list[str]) -> bytes:
    # Of the command only its name: arguments may hold what is not for everybody.
    return (Path(command[0]).name if label is None else label).encode("utf-8", "surrogateescape")


def _seconds(deadline: float | None, no_wait: bool) -> float:
    return 0 if no_wait else inf if deadline is None else deadline


# --- what both do ----------------------------------------------------------------------------------------------------


def _run(
    what: str,
    path: str,
    hold: Hold,
    command: list[str],
    wait: float,
    grace: float | None,
    session_timeout: float,
    endpoints: str | None,
) -> None:
    grace = session_timeout / 5 if grace is None else grace
    if grace * SESSION_SHARE > session_timeout:
        raise typer.BadParameter(
            f"--grace is at most a third of --session-timeout, and so {session_timeout / SESSION_SHARE:g}"
        )
    code = 0

    async def main() -> None:
        nonlocal code
        name = f"coord ({socket.gethostname()}, {os.getpid()})"
        async with anyio.create_task_group() as tasks:
            signals = Signals(tasks.cancel_scope)
            await tasks.start(signals.receive)
            async with connect(
                endpoints_or_default(endpoints),
                name=name,
                session_timeout=session_timeout,
                deadline=min(CONNECT_DEADLINE_S, wait or inf),
            ) as client:
                code = await _held(what, path, hold(client), command, grace, signals)
            tasks.cancel_scope.cancel()
        if signals.came_early:
            code = SIGNALLED + signals.came_early

    run_plain(main)
    raise typer.Exit(code)


class Signals:
    """What comes before there is a command ends us; later it is the command's."""

    def __init__(self, whole: anyio.CancelScope) -> None:
        self._whole = whole
        self.child: Child | None = None
        self.came_early = 0

    async def receive(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        with anyio.open_signal_receiver(*PASSED_ON) as signals:
            task_status.started()
            async for number in signals:
                if self.child is not None:
                    self.child.pass_on(number)
                elif number not in (signal.SIGUSR1, signal.SIGUSR2):
                    self.came_early = number
                    self._whole.cancel()


async def _held(
    what: str,
    path: str,
    hold: AbstractAsyncContextManager[Claimed],
    command: list[str],
    grace: float,
    signals: Signals,
) -> int:
    code = None
    entered = False
    try:
        async with hold as held:
            entered = True
            code = await _run_while(held, path, command, grace, signals)
    except DeadlineExceeded as error:
        if entered:
            raise
        typer.echo(f"coord: {error.message}", err=True)
        return NOT_ACQUIRED
    except Lost as error:
        typer.echo(f"coord: {error.message}; the command was ended", err=True)
        return LOST
    if code is None:
        typer.echo(f"coord: {what} was about to be lost: no member answers; the command was ended", err=True)
        return LOST
    return code


async def _run_while(
    held: Claimed, path: str, command: list[str], grace: float, signals: Signals
) -> int | None:
    """Its exit code; ``None``: it was ended in time. *Cancellation:* it is ended."""
    token = f"{held.token.incarnation}-{held.token.revision}"
    environment = {
        **os.environ,
        "COORD_LOCK_PATH": path,
        "COORD_TOKEN": str(held.token.revision),
        "COORD_TOKEN_INCARNATION": str(held.token.incarnation),
        "COORD_FENCING_TOKEN": token,
        # Within one another each of them holds, and `coord set` below a fence of the outer one presents its token, too.
        "COORD_FENCING_TOKENS": " ".join([*os.environ.get("COORD_FENCING_TOKENS", "").split(), token]),
    }
    try:
        child = Child(command, environment)
    except OSError as error:
        typer.echo(f"coord: {command[0]}: {error.strerror}", err=True)
        return NOT_A_COMMAND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
    signals.child = child
    code = None
    try:
        async with anyio.create_task_group() as tasks:

            async def end_in_time() -> None:
                # Each answer of the members puts it off.
                while (left := held.remaining() - grace) > 0:
                    await anyio.sleep(left)
                tasks.cancel_scope.cancel()

            tasks.start_soon(end_in_time)
            code = await child.wait()
            tasks.cancel_scope.cancel()
    finally:
        if code is None:
            await child.end(grace)
        child.close()
    return code
