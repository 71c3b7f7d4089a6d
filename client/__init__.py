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

Every error is a :class:`CoordError` and says by its ``outcome`` whether the operation happened: ``refused`` or
``unknown``. Why things are as they are: ``README.md`` beside this file. To drive the protocol without tasks or
sockets: :mod:`coord.client.core`.
"""

from coord.api.errors import (
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
    Overloaded,
    ProtocolError,
    ReplyForgotten,
    SessionEnded,
    SessionRequired,
    Unavailable,
    WrongCluster,
)
from coord.api.events import ChangeKind, Event, Reason
from coord.api.ops import Compare, Create, Delete, Get, Kind, List, Operator, Set, Target
from coord.api.ops import Exists as ExistsOp
from coord.api.results import Child, Created, Deleted, MultiResult, Page, Stat, Written, Znode
from coord.client import when
from coord.client.client import Client
from coord.client.connecting import Connecting, connect
from coord.client.core import State
from coord.client.results import LogEntry, LogPage, SessionInfo, SessionPage
from coord.client.watch import Watch

__all__ = [
    "connect",
    "Client",
    "Connecting",
    "Watch",
    "State",
    "when",
    # ops, for multi
    "Compare",
    "Create",
    "Delete",
    "ExistsOp",
    "Get",
    "Kind",
    "List",
    "Operator",
    "Set",
    "Target",
    # results
    "Child",
    "Created",
    "Deleted",
    "LogEntry",
    "LogPage",
    "MultiResult",
    "Page",
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
    "Overloaded",
    "ProtocolError",
    "ReplyForgotten",
    "SessionEnded",
    "SessionRequired",
    "Unavailable",
    "WrongCluster",
]
