"""CPython's cycle collector, kept off the live tree.

A full collection walks every tracked object: with a large store that is a pause in the middle of requests.
The tree itself is made of exact tuples, which the collector stops tracking (coord/store/znode.py), in a few large
dicts, which are frozen here at the start. What survives each of our own collections is frozen too, so
that each looks only at what came since the last one.

The price: a cycle that was frozen while alive is never collected. Such cycles come from connections (tasks,
exceptions) and are small; now and then, rarely, everything is thawed and collected once.
"""

import gc
import time

import trio

PERIOD_S = 0.25
ALLOCATIONS = 50_000
"""Tracked objects made and not freed since the last collection, before there is another."""

FULL_PERIOD_S = 3600.0
FULL_OBJECTS_MAX = 300_000
"""Everything is thawed only while there are at most so many tracked objects: a pause of some 50 ms."""


async def collect_forever() -> None:
    """Take the collector over, until cancelled."""
    gc.disable()
    last_full = time.monotonic()
    try:
        while True:
            await trio.sleep(PERIOD_S)
            if gc.get_count()[0] < ALLOCATIONS:
                continue
            if time.monotonic() - last_full > FULL_PERIOD_S and gc.get_freeze_count() < FULL_OBJECTS_MAX:
                gc.unfreeze()
                last_full = time.monotonic()
            gc.collect()
            gc.freeze()
    finally:
        gc.enable()
