"""What is run."""

from race.loads import PYTHON_HANDOFFS, WATCH_BY_HAND, Work

WARM_UP = Work("set", 8, 64, seconds=5.0)
"""Of a cluster that was just started, before it is measured. (Each load warms itself up besides.)"""
SHAPES = ((16, 1), (64, 1), (8, 64), (8, 256))
"""Connections by requests in flight on each."""
PLACES = ("leader", "follower")
"""Where one connection is: it decides what it waits for, and who leads is a matter of luck."""

REQUESTS = (
    *(Work("set", 1, 1, at=at) for at in PLACES),
    *(Work("set", connections, in_flight) for connections, in_flight in SHAPES),
    *(Work("get", 1, 1, at=at) for at in PLACES),
    *(Work("get", connections, in_flight) for connections, in_flight in SHAPES),
    *(Work("get", connections, in_flight, read="local") for connections, in_flight in ((1, 1), (8, 64))),
    Work("get", 8, 64, read="at-least"),
    Work("create", 8, 64),
    Work("mixed", 8, 64),
    Work("cas", 8, 64),
    *(Work("set", 8, 64, value_bytes) for value_bytes in (1_024, 16_384)),
    *(Work("get", 8, 64, value_bytes) for value_bytes in (1_024, 16_384)),
)
"""In the order of the page."""

WATCHES = (
    Work("watch-one", 500, 20),
    Work(WATCH_BY_HAND, 500, 20),
    Work("watch-own", 100, 100),
)
"""Ten thousand watches: of one znode (500 sessions with 20 each), and each of a znode of its own (100 sessions)."""

HANDOFFS = (
    Work("handoffs", 8, 1),
    Work(PYTHON_HANDOFFS, 8, 1),
)
"""One contended lock: by the quickest load of each, and as a program in Python has it (kazoo on ZooKeeper)."""

FAILOVER = Work("set", 8, 1, seconds=12.0, failover=True)
KILL_AFTER_S = 8.0
"""After the start of the program: the slowest one measures from its fifth second on."""

SESSIONS = 10_000
QUICK_SESSIONS = 500

MILLION = Work("create", 8, 64, count=1_000_000)
QUICK_MILLION = Work("create", 8, 64, count=20_000)
HALF_LOAD_S = 20.0
QUICK_HALF_LOAD_S = 3.0

BEST_RATIOS = {
    "set 8x64": 3.0,
    "set 64x1": 1.5,
    "set 1x1, at the leader": 1.0,
    "set 1x1, at a follower": 1.0,
    "get (linearizable) 8x64": 1.5,
    "watch-one 500x20": 2.0,
    "watch-own 100x100": 2.0,
    f"{PYTHON_HANDOFFS} 8x1": 10.0,
}
"""What coord aims at: its rate over the better peer's. ZooKeeper's read, which may be stale, counts as its read."""
LEAST_RATIOS = {"longest_gap_ms": 0.5, "resident_mb": 1.0, "restart_s": 1.0}
"""The same where less is better."""
HALF_LOAD_P999_MS = 50.0

COMPARED = {"get (local) 8x64"}
"""What others with an aim are compared with."""
FIRST = tuple(work for work in REQUESTS if work.title in BEST_RATIOS.keys() | COMPARED)
REST = tuple(work for work in REQUESTS if work not in FIRST)
"""What is told first is run first, in each round: a run that is cut short has it."""
