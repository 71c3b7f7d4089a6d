"""A load on coord that survives the loss of a member: what a program sees of a failover.

``python -m race.steady --connections 8 --in-flight 1 --seconds 10 --endpoints …``: clients of the library, whose tasks
set each its key again and again. Prints one line of JSON; ``longest_gap_ms`` is the longest time in which nothing was
answered.
"""

import argparse
import json
import time
from contextlib import AsyncExitStack

import anyio

from coord.client import Client, CoordError, connect


class Tally:
    def __init__(self, seconds: float) -> None:
        self.last = time.monotonic()
        self.until = self.last + seconds
        self.longest_gap = 0.0
        self.latencies: list[float] = []
        self.errors = 0


async def _set_again(client: Client, key: str, value: bytes, tally: Tally) -> None:
    while (began := time.monotonic()) < tally.until:
        try:
            await client.set(key, value)
        except CoordError:
            tally.errors += 1
            continue
        now = time.monotonic()
        tally.latencies.append(now - began)
        tally.longest_gap = max(tally.longest_gap, now - tally.last)
        tally.last = now


async def _run(arguments: argparse.Namespace) -> Tally:
    endpoints = arguments.endpoints.split(",")
    value = bytes(arguments.value_bytes)
    async with AsyncExitStack() as stack:
        clients = []
        for number in range(arguments.connections):
            at = number % len(endpoints)  # each begins at another member, and knows them all
            clients.append(await stack.enter_async_context(connect(endpoints[at:] + endpoints[:at])))
        keys = [f"/bench/{number}" for number in range(arguments.connections * arguments.in_flight)]
        for key in keys:
            await clients[0].set(key, value, create=True, parents=True)
        tally = Tally(arguments.seconds)
        async with anyio.create_task_group() as tasks:
            for number, key in enumerate(keys):
                tasks.start_soon(_set_again, clients[number % len(clients)], key, value, tally)
        return tally


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--in-flight", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--value-bytes", type=int, default=100)
    parser.add_argument("--endpoints", required=True)
    arguments = parser.parse_args()
    tally = anyio.run(_run, arguments)
    took = sorted(tally.latencies)
    row = {
        f"p{name}_ms": took[int(len(took) * share)] * 1000
        for name, share in (("50", 0.5), ("99", 0.99), ("999", 0.999))
    }
    row |= {"done": len(took), "errors": tally.errors, "rate_per_second": len(took) / arguments.seconds}
    print(json.dumps(row | {"longest_gap_ms": tally.longest_gap * 1000}))


if __name__ == "__main__":
    main()
