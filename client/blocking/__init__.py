"""The client library for plain threads: ``with connect(…) as client``, in a script, a pool, Django, Flask, a REPL.

::

    from coord.client.blocking import Conflict, connect

    with connect("127.0.0.1:4711,127.0.0.1:4712") as client:
        client.create("/config/colour", b"red", parents=True)
        znode = client.get("/config/colour")
        try:
            client.set("/config/colour", b"blue", version=znode.stat.version)
        except Conflict as error:
            print("somebody was faster:", error.details)

        with client.watch("/config", "subtree") as events:
            for event in events:
                print(event.kind, event.path, event.value)

    client = connect("127.0.0.1:4711").open()  # where there is no place for a block
    with client.cache("/config") as cache:
        cache.wait_for(lambda: "/config/colour" in cache)
        print(cache.get("/config/colour"))
    client.transact(lambda t: t.set("/config/colour", t.get("/config/colour").value.upper()))
    client.close()  # or the end of the interpreter closes it

The names, the types and the promises are those of :mod:`coord.client`; here nothing is awaited. One client may be
shared by any number of threads, whose calls share frames and round trips. It has a thread of its own, which keeps its
session alive while the others do something else. Why things are as they are: ``README.md`` beside this file.
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
from coord.client.blocking.builder import Branch, Conditions
from coord.client.blocking.cache import Cache, Changes
from coord.client.blocking.client import Client
from coord.client.blocking.connecting import Connecting, connect
from coord.client.blocking.grant import Grant
from coord.client.blocking.transaction import Transaction
from coord.client.blocking.watch import Watch
from coord.client.core import State
from coord.client.core.mirror import Cached
from coord.client.core.overlay import Seen
from coord.client.core.results import LogEntry, LogPage, SessionInfo, SessionPage

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
