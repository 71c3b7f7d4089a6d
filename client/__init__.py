"""The client library: ``async with connect(…) as client``, under trio and asyncio alike.

::

    from coord.client import Conflict, Set, connect, when

    async with connect("127.0.0.1:4711,127.0.0.1:4712") as client:
        await client.create("/config/colour", b"red", parents=True)
        znode = await client.get("/config/colour")
        try:
            await client.set("/config/colour", b"blue", version=znode.stat.version)
        except Conflict as error:
            print("somebody was faster:", error.details)

        await client.create("/members/a", ephemeral=True, parents=True)
        await client.multi([when.version("/config/colour") == 1], then=[Set("/config/colour", b"green")])

        async with client.watch("/config", "subtree") as events:
            async for event in events:
                print(event.kind, event.path, event.value)

        async with client.cache("/config") as cache:  # a copy that is kept up: no round trips
            print(cache.get("/config/colour"), cache.children("/config"))

Every error is a :class:`CoordError` and says by its ``outcome`` whether the operation happened: ``refused`` or
``unknown``. Why things are as they are: ``README.md`` beside this file. To drive the protocol without tasks or
sockets: :mod:`coord.client.core`.
"""

from coord.api.errors import (
    Claimed,
    Conflict,
    CoordError,
    DeadlineExceeded,
    Disconnected,
    Exists,
    Gap,
    InvalidRequest,
    LimitExceeded,
    NotAllowed,
    NotEmpty,
    NotFound,
    NotHeld,
    Overloaded,
    ProtocolError,
    ReplyForgotten,
    SessionEnded,
    SessionRequired,
    StaleToken,
    Unavailable,
    WrongCluster,
)
from coord.api.events import ChangeKind, Event, Reason
from coord.api.ops import (
    Claim,
    ClaimSettings,
    Compare,
    Create,
    Delete,
    Fence,
    Get,
    HoldBack,
    Kind,
    Lane,
    List,
    Multi,
    Operator,
    Release,
    Set,
    SetLanes,
    Target,
)
from coord.api.ops import Exists as ExistsOp
from coord.api.results import (
    Child,
    ClaimFacts,
    ClaimPage,
    ClaimRow,
    Created,
    Deleted,
    MultiResult,
    Page,
    Released,
    Rotated,
    Stat,
    Written,
    Znode,
)
from coord.api.signed import SignedToken
from coord.api.tokens import Token
from coord.client import when
from coord.client.builder import Branch, Conditions
from coord.client.cache import Cache, Changes
from coord.client.client import Client
from coord.client.connecting import Connecting, connect
from coord.client.core import State
from coord.client.core.mirror import Cached
from coord.client.core.overlay import Seen
from coord.client.core.results import LogEntry, LogPage, SessionInfo, SessionPage
from coord.client.grant import Grant
from coord.client.transaction import Transaction
from coord.client.watch import Watch

__all__ = [
    "connect",
    "Client",
    "Connecting",
    "Watch",
    "Grant",
    "Token",
    "SignedToken",
    "Cache",
    "Cached",
    "Changes",
    "State",
    "Transaction",
    "Seen",
    "when",
    "Conditions",
    "Branch",
    # ops, for multi
    "Claim",
    "ClaimSettings",
    "Compare",
    "Create",
    "Delete",
    "ExistsOp",
    "Fence",
    "Get",
    "HoldBack",
    "Kind",
    "Lane",
    "List",
    "Multi",
    "Operator",
    "Release",
    "Set",
    "SetLanes",
    "Target",
    # results
    "Child",
    "ClaimFacts",
    "ClaimPage",
    "ClaimRow",
    "Created",
    "Deleted",
    "LogEntry",
    "LogPage",
    "MultiResult",
    "Page",
    "Released",
    "Rotated",
    "SessionInfo",
    "SessionPage",
    "Stat",
    "Written",
    "Znode",
    # events
    "ChangeKind",
    "Event",
    "Reason",
    # errors
    "CoordError",
    "Claimed",
    "Conflict",
    "DeadlineExceeded",
    "Disconnected",
    "Exists",
    "Gap",
    "InvalidRequest",
    "LimitExceeded",
    "NotAllowed",
    "NotEmpty",
    "NotFound",
    "NotHeld",
    "Overloaded",
    "ProtocolError",
    "ReplyForgotten",
    "SessionEnded",
    "SessionRequired",
    "StaleToken",
    "Unavailable",
    "WrongCluster",
]
