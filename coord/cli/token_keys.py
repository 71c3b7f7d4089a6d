"""``coord token-keys``: the keys with which members sign tokens."""

import json
from enum import StrEnum
from typing import Annotated, Any

import typer

from coord.api.errors import InvalidRequest, NotFound
from coord.api.paths import TOKEN_KEYS, join
from coord.api.results import Znode
from coord.cli.options import EndpointsOption, JsonOption
from coord.cli.printing import print_json, print_table, wall_time
from coord.cli.running import run
from coord.client import Client, Kind


class Action(StrEnum):
    LIST = "list"
    JWKS = "jwks"
    ROTATE = "rotate"
    REVOKE = "revoke"


def token_keys(
    action: Annotated[
        Action,
        typer.Argument(
            help="list: show them. jwks: print the public keys as a JWKS, for resources that verify without asking. "
            "rotate: have every member make a new one. revoke: let KEY go at once, and rotate."
        ),
    ] = Action.LIST,
    key: Annotated[str | None, typer.Argument(help="Which key to revoke.", show_default=False)] = None,
    endpoints: EndpointsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show, rotate or revoke the keys with which members sign tokens.

    There are none until a token is signed, or they are rotated, for the first time.
    """

    async def command(client: Client) -> None:
        if action in (Action.ROTATE, Action.REVOKE):
            rotated = await client.rotate_token_keys(revoke=key)
            if as_json:
                print_json({"generation": rotated.generation, "revision": rotated.revision})
            else:
                typer.echo(f"generation {rotated.generation}: every member makes a new key")
            return
        found = await _all_keys(client)
        if action is Action.JWKS:
            print_json({"keys": [json.loads(znode.value) for znode in found]})
            return
        rows = [key_fields(znode) for znode in found]
        if as_json:
            for row in rows:
                print_json(row)
            return
        print_table(
            ("key", "member", "state", "made"),
            [(row["key"], row["member"], row["state"], wall_time(row["made_ms"])) for row in rows],
            numbers=("member",),
        )

    if (key is not None) != (action is Action.REVOKE):
        what = "which key? `coord token-keys` shows them" if key is None else f"{action.value} takes no key"
        raise typer.BadParameter(what)
    run(command, endpoints, session=action in (Action.ROTATE, Action.REVOKE))


async def _all_keys(client: Client) -> list[Znode]:
    try:
        names = await client.children(TOKEN_KEYS)
    except NotFound:
        return []
    found = []
    for name in names:
        try:
            found.append(await client.get(join(TOKEN_KEYS, name)))
        except NotFound:
            continue  # retired, or revoked, just now
    return found


def key_fields(znode: Znode) -> dict[str, Any]:
    """A key in JSON, with the public half as a JWK."""
    try:
        jwk = json.loads(znode.value)
        row = {"key": jwk["kid"], "member": jwk["member"], "made_ms": jwk["made_ms"]}
    except (ValueError, LookupError, TypeError) as error:
        raise InvalidRequest(f"{znode.path} holds no key: a newer coord's, perhaps") from error
    state = "retiring" if znode.stat.kind == Kind.TTL else "in use"
    return {**row, "state": state, "jwk": jwk}
