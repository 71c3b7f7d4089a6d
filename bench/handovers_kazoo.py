"""Contenders for a lock that are kazoo's: ``handovers.py --client kazoo --endpoints 127.0.0.1:2181`` starts this.

Speaks with ``handovers.py`` as its own contenders do. kazoo's clients have threads; each contender has one,
too.
"""

import json
import sys
import threading
import time
from collections.abc import Callable

PATH = "/bench-handovers"
SESSION_S = 30.0
START_S = 60.0

Seen = tuple[float, float, float]


def contend(
    acquire: Callable[[], object], release: Callable[[], object], ends_at: float, seen: list[Seen]
) -> None:
    clock = time.monotonic
    while True:
        acquire()
        granted = clock()
        if granted >= ends_at:
            release()
            return
        # Who is sorted by when it was granted stands in order, as long as nobody has it together with another one;
        # and if they do, the reader finds that the one before had not given it up yet.
        seen.append((granted, granted, clock()))
        release()


def work(endpoints: str, contenders: int) -> None:
    """Says ``ready``; begins when it is told until when; says what it has seen."""
    from kazoo.client import KazooClient  # only here: pip install kazoo

    hosts = endpoints.split(",")
    clients = []
    for number in range(contenders):
        at = number % len(hosts)
        client = KazooClient(",".join(hosts[at:] + hosts[:at]), timeout=SESSION_S, randomize_hosts=False)
        client.start(timeout=START_S)
        clients.append(client)
    locks = [client.Lock(PATH) for client in clients]
    clients[0].ensure_path(PATH)
    print("ready", flush=True)
    ends_at = float(sys.stdin.readline())
    used = time.process_time()
    seen: list[Seen] = []
    threads = [
        threading.Thread(target=contend, args=(lock.acquire, lock.release, ends_at, seen)) for lock in locks
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    used = time.process_time() - used
    print(json.dumps({"seen": seen, "packets": 0, "cpu_s": used}), flush=True)
    for client in clients:
        client.stop()
