"""CPython's cycle collector, kept off the live tree.

A full collection walks every tracked object: with a large store that is a pause in the middle of requests.
The tree itself is made of exact tuples, which the collector stops tracking (coord/store/znode.py), in a few large
dicts, which are frozen here at the start. What is there at each later look is frozen too, mostly without a
collection, so that each collection looks only at what came since the last look.

The price: a cycle that was frozen is not collected. Such cycles come from connections (tasks, exceptions) and are
small; now and then, rarely, everything is thawed and collected once.
"""

import gc
import time

import trio

PERIOD_S = 0.1
ALLOCATIONS = 15_000
"""Tracked objects made and not freed since the last look, before there is another."""
QUIET_S = 5.0
"""Under load a look freezes what there is without going through it, which costs nothing: a collection would hold
everything up for 0.4 us for each object, and several times that while others use the processor's caches, too; and a
steady load makes no cycles (measured: none in a million requests). What frees them is a quieter moment, in which the
next 15 000 take longer than this to come."""

FULL_PERIOD_S = 3600.0
FULL_OBJECTS_MAX = 300_000
"""Everything is thawed only while there are at most so many tracked objects: a pause of some 50 ms."""


async def collect_forever() -> None:
    """Take the collector over, until cancelled."""
    gc.disable()
    last = last_full = time.monotonic()
    try:
        while True:
            await trio.sleep(PERIOD_S)
            if gc.get_count()[0] < ALLOCATIONS:
                continue
            now = time.monotonic()
            if now - last_full > FULL_PERIOD_S and gc.get_freeze_count() < FULL_OBJECTS_MAX:
                gc.unfreeze()
                last_full = now
            if now - last > QUIET_S or last_full == now:
                gc.collect()
            gc.freeze()
            last = now
    finally:
        gc.enable()
