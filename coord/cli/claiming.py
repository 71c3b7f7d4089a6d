"""Commands that look at claims: who holds what, who waits for it, and why it takes so long."""

import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from coord.api.paths import ROOT
from coord.api.results import ClaimFacts, ClaimRow
from coord.cli.deadlocks import Wait, cycles, still_there, waits
from coord.cli.options import EndpointsOption, JsonOption, TokenOption, tokens
from coord.cli.printing import print_json, print_table, short_value, value_fields, wall_time
from coord.cli.running import run
from coord.client import Client

WAITERS_SHOWN = 10
"""By ``why``, in words; ``claims`` shows all."""


def claims(
    path: Annotated[str, typer.Argument(help="Only claims here and below.")] = ROOT,
    endpoints: EndpointsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show claims: who holds a path, and who waits for it."""

    async def command(client: Client) -> None:
        rows = await _all_claims(client, path)
        if as_json:
            for row in rows:
                print_json(claim_fields(row))
            return
        rows.sort(key=lambda row: (row.path, row.token is None, row.before, row.number))
        print_table(
            ("path", "number", "state", "session", "client", "token", "units", "shared", "label", "since"),
            [
                (
                    row.path,
                    row.number,
                    "held" if row.token else f"waiting ({row.before + 1})",
                    row.session,
                    row.client,
                    f"{row.token.incarnation}-{row.token.revision}" if row.token else "",
                    row.units,
                    "shared" if row.shared else "",
                    short_value(row.label),
                    wall_time(row.since_ms),
                )
                for row in rows
            ],
            numbers=("number", "session", "token", "units"),
        )

    run(command, endpoints)


def fence(
    path: Annotated[
        str, typer.Argument(help="What is fenced: this znode, and all below.", show_default=False)
    ],
    claim: Annotated[
        str | None,
        typer.Argument(help="The lock, or the election, whose token is asked for.", show_default=False),
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the fence away.")] = False,
    token: TokenOption = None,
    endpoints: EndpointsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let only the holder of a lock write below a path.

    coord fence /reports /locks/report

    From now on all others are refused, also those who have held it before and
    do not know that they have lost it. It stays until it is taken away, which
    is itself a write below it.
    """
    if (claim is None) != remove:
        raise typer.BadParameter("give the path of a lock, or --remove (one of them)")
    presented = tokens(token)

    async def command(client: Client) -> None:
        await client.fenced(*presented).fence(path, claim)
        if as_json:
            print_json({"path": path, "claim": claim})
            return
        typer.echo(
            f"{path} has no fence of its own"
            if claim is None
            else f"{path} is fenced by the claim of {claim}"
        )

    run(command, endpoints, session=True)


def why(
    path: Annotated[str, typer.Argument(help="A path that is claimed, or written to.", show_default=False)],
    endpoints: EndpointsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say in words who holds a path, who waits for it, for how long, what fences it, and what is stuck for ever."""

    async def command(client: Client) -> None:
        facts = await client.claim_info(path)
        rows = await _all_claims(client, path, subtree=False)
        everywhere = await _all_claims(client, ROOT)
        stuck = cycles(waits(everywhere))
        if stuck:
            stuck = still_there(stuck, await _all_claims(client, ROOT))
        if as_json:
            print_json(why_fields(path, facts, rows, stuck))
            return
        for line in explained(path, facts, rows, time.time() * 1000):
            typer.echo(line)
        for circle in stuck:
            for line in explained_circle(circle):
                typer.echo(line)

    run(command, endpoints)


async def _all_claims(client: Client, path: str, *, subtree: bool = True) -> list[ClaimRow]:
    found: list[ClaimRow] = []
    more, after = True, None
    while more:
        page = await client.claims(path, subtree=subtree, after=after)
        found += page.claims
        more, after = page.more, found[-1].number if found else None
    return found


def claim_fields(row: ClaimRow) -> dict[str, object]:
    """A claim in JSON."""
    label = value_fields(row.label)
    return {
        "path": row.path,
        "number": row.number,
        "state": "held" if row.token else "waiting",
        "before": row.before,
        "session": row.session,
        "client": row.client,
        "token": [row.token.incarnation, row.token.revision] if row.token else None,
        "units": row.units,
        "shared": row.shared,
        **{key.replace("value", "label"): each for key, each in label.items()},
        "since_ms": row.since_ms,
    }


def why_fields(
    path: str, facts: ClaimFacts, rows: Sequence[ClaimRow], stuck: Sequence[Sequence[Wait]]
) -> dict[str, object]:
    """All that ``why`` has to say, in JSON; the line in its order, and each deadlock as who waits for whom."""
    held = [row for row in rows if row.token is not None]
    return {
        "path": path,
        **asdict(facts),
        "holders": [claim_fields(row) for row in held],
        "waiters": [claim_fields(row) for row in _line(rows)],
        "deadlocks": [
            [{"waiter": claim_fields(wait.waiter), "blocker": claim_fields(wait.blocker)} for wait in circle]
            for circle in stuck
        ],
    }


def _line(rows: Sequence[ClaimRow]) -> list[ClaimRow]:
    return sorted((row for row in rows if row.token is None), key=lambda row: (row.before, row.number))


# --- in words --------------------------------------------------------------------------------------------------------


def explained(path: str, facts: ClaimFacts, rows: Sequence[ClaimRow], now_ms: float) -> list[str]:
    """What there is to say about the claims of one path."""
    held = [row for row in rows if row.token is not None]
    waiting = _line(rows)
    lines = []
    if not held:
        lines.append(f"Nobody holds {path}.")
    for row in held:
        token = f"{row.token.incarnation}-{row.token.revision}" if row.token else ""
        lines.append(
            f"{path} is held by {_who(row)} for {_age(row, now_ms)}: {_what(row, facts)}token {token}."
        )
    if facts.capacity > 1:
        used = sum(row.units for row in held)
        lines.append(f"{used} of its capacity of {facts.capacity} units are held.")
    if facts.delay_left_ms:
        lines.append(
            f"A lock delay runs for {facts.delay_left_ms / 1000:.1f} s more, as a holder's session expired: until then "
            "nobody is granted it."
        )
    elif facts.lock_delay_ms:
        lines.append(f"It has a lock delay of {facts.lock_delay_ms / 1000:g} s.")
    lines += _explained_limits(facts)
    lines += _explained_line(waiting, facts, now_ms)
    for session in sorted({row.session for row in held} & {row.session for row in waiting}):
        lines.append(
            f"Session {session} waits for what it holds itself: for ever, where one task does both (a lock that is "
            "entered twice); of several tasks one waits for another."
        )
    fenced_by = [f"the token of {claim}" for claim in facts.fenced_by]
    if fenced_by:
        lines.append(f"Whoever writes at {path} must present {' and '.join(fenced_by)}.")
    if facts.fences:
        lines.append(f"Its token is what writes at and below {', '.join(facts.fences)} must present.")
        if not held:
            lines.append("As nobody holds it, all those writes are refused.")
    return lines


def _explained_limits(facts: ClaimFacts) -> list[str]:
    """Why nobody is granted it, although nobody holds it."""
    lines = []
    if facts.held_back:
        until = "somebody says otherwise"
        if facts.held_back_ms is not None:
            until = f"{facts.held_back_ms / 1000:.1f} s of cluster time are over"
        lines.append(f"It is held back: until {until} nobody is granted it.")
    for lane in facts.lanes:
        limits = [f"{lane.width} held at a time"] if lane.width else []
        if lane.interval_ms:
            limits.append(f"one in {lane.interval_ms / 1000:g} s, {lane.burst} at once")
        what = " and ".join(limits) or "any number"
        lines.append(
            f"It is granted only while its lane {lane.name!r} has room: {what}, in the whole cluster."
        )
    return lines


def _explained_line(waiting: Sequence[ClaimRow], facts: ClaimFacts, now_ms: float) -> list[str]:
    if not waiting:
        return ["Nobody waits for it."]
    lines = [f"{len(waiting)} {'waits' if len(waiting) == 1 else 'wait'} for it, first come, first served:"]
    for place, row in enumerate(waiting[:WAITERS_SHOWN], 1):
        what = _what(row, facts).rstrip(", ")
        lines.append(
            f"  {place}. {_who(row)} for {_age(row, now_ms)}{f': {what}' if what else ''}, claim {row.number}"
        )
    if len(waiting) > WAITERS_SHOWN:
        lines.append(f"  … and {len(waiting) - WAITERS_SHOWN} more")
    return lines


def explained_circle(circle: Sequence[Wait]) -> list[str]:
    """A deadlock, in words."""
    lines = ["DEADLOCK: each of these sessions waits for the next, and the last for the first:"]
    for waiter, blocker in circle:
        relation = "is held by" if blocker.token is not None else "has before it in line"
        lines.append(f"  {_who(waiter)} waits for {waiter.path}, which {relation} {_who(blocker)}")
    numbers = ", ".join(str(wait.blocker.number) for wait in circle)
    lines.append(
        f"Unless one of them gives up a claim by itself (these: {numbers}) none goes on. It would go on, too, if what "
        "waits and what holds in one of these programs are tasks that do not wait for each other, or if other holders "
        "leave enough of a capacity."
    )
    return lines


def _who(row: ClaimRow) -> str:
    label = f", {short_value(row.label)!r}" if row.label else ""
    return f"session {row.session} ({row.client or 'nameless'}{label})"


def _what(row: ClaimRow, facts: ClaimFacts) -> str:
    units = f"{row.units} units, " if facts.capacity > 1 or row.units > 1 else ""
    return f"{'shared, ' if row.shared else ''}{units}"


def _age(row: ClaimRow, now_ms: float) -> str:
    """By wall clocks, the leader's and this machine's: for people."""
    seconds = max(now_ms - row.since_ms, 0) / 1000
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = int(seconds // 60)
    if minutes < 120:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h" if hours < 48 else f"{hours // 24} days"
