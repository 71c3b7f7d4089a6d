"""Asking all members how they are, and saying in words what keeps them from answering."""

from collections.abc import Mapping, Sequence
from typing import Any

import anyio

from coord.api.errors import CoordError
from coord.cli.options import split_endpoints
from coord.client import connect

Found = Mapping[str, Mapping[str, Any] | str]
"""Address -> the member's own row, or why there is none."""


async def ask_members(endpoints: str | None, deadline_s: float) -> Found:
    """What each member says of itself, the leader's and others' alike: needs no quorum.

    Members that were not named are asked, too: each knows the list.
    """
    found: dict[str, Mapping[str, Any] | str] = {}
    await _ask(split_endpoints(endpoints), deadline_s, found)
    known = {
        str(address) for row in found.values() if not isinstance(row, str) for _, address in row["addresses"]
    }
    await _ask(sorted(known - found.keys()), deadline_s, found)
    return found


async def _ask(
    addresses: Sequence[str], deadline_s: float, found: dict[str, Mapping[str, Any] | str]
) -> None:
    async def ask(address: str) -> None:
        try:
            async with connect(
                address, session=False, name="coord status", deadline=deadline_s, discover=False
            ) as client:
                found[address] = await client.status()
        except CoordError as error:
            # The client's sentence is about all members that it tried; here there is one, and it is named already.
            found[address] = error.message.rpartition(f"{address}: ")[2]

    async with anyio.create_task_group() as group:
        for address in addresses:
            group.start_soon(ask, address)


def diagnosis(found: Found) -> list[str]:
    """Lines on why there is no quorum, or no leader; none when nothing of the kind is to be seen (any more)."""
    rows = {address: row for address, row in found.items() if not isinstance(row, str)}
    if not rows:
        headline = (
            "no member answers: is the cluster up, and is this where it is? "
            "(--endpoints, or $COORD_ENDPOINTS; `coord dev` starts one)"
        )
    else:
        voters = max(rows.values(), key=lambda row: (row["term"], row["commit_index"]))["voters"]
        needed = len(voters) // 2 + 1
        answering = {row["member"] for row in rows.values()} & set(voters)
        of = f"{len(answering)} of {len(voters)} voting members answer{'s' if len(answering) == 1 else ''} here"
        if len(answering) < needed:
            headline = f"no quorum is to be seen: {of}, and it takes {needed}"
        elif not any(row["role"] == "leader" for row in rows.values()):
            headline = f"there is no leader: {of}, but they have not elected one. Do they reach each other?"
        else:
            return []
    width = max(len(address) for address in found)
    return [headline, *(f"  {address:<{width}}  {_says(found[address])}" for address in sorted(found))]


def _says(row: Mapping[str, Any] | str) -> str:
    if isinstance(row, str):
        return row
    leader = f"follows member {row['leader']}" if row["leader"] else "knows no leader"
    if row["role"] == "leader":
        leader = "leads"
    return f"member {row['member']} in term {row['term']} ({row['role']}): {leader}"
