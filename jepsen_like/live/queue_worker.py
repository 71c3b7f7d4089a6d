"""The tasks of ``queue.py``, and a worker of them as a program::

    python -m coord.jepsen_like.live.queue_worker HOST:PORT,…

It works until it is killed; when its session is lost it begins anew with another.
"""

import sys
import time
from typing import Final

import anyio
import trio

from coord.client import Create, connect
from coord.jepsen_like.checkers.tasks import ROOT
from coord.recipes.queue import App, Backoff, GiveUp, Retry, context
from coord.recipes.queue.worker import Serving

SESSION_TIMEOUT_S: Final = 2.0
CONNECT_DEADLINE_S: Final = 30.0
"""All members may be away for a while."""
CONCURRENCY: Final = 5

APP: Final = App(
    "torture", root=ROOT, max_length=300, retry=Retry(times=50, backoff=Backoff(0.05, max_s=0.5))
)
PATHS: Final = APP.layout.queue("default")
EFFECTS: Final = f"{ROOT}/effects"


@APP.task
async def work(ms: int, fails: int) -> int:
    """``fails``: so often, or, below 0, for good."""
    _begin()
    await anyio.sleep(ms / 1_000)
    return _end(fails)


@APP.task
def in_thread(ms: int, fails: int) -> int:
    _begin()
    time.sleep(ms / 1_000)
    return _end(fails)


def _begin() -> None:
    """A sequential create is never refused: two of one task would be there to be seen."""
    here = context()
    here.once(Create(f"{EFFECTS}/{here.id}-", sequential=True))


def _end(fails: int) -> int:
    attempt = context().attempt
    if fails < 0:
        raise GiveUp("it was told to")
    if attempt <= fails:
        raise OSError(f"attempt {attempt} was told to fail")
    return attempt


async def serve(endpoints: str) -> None:
    await Serving(
        lambda: connect(
            endpoints, session_timeout=SESSION_TIMEOUT_S, deadline=CONNECT_DEADLINE_S, discover=False
        ),
        APP,
        concurrency=CONCURRENCY,
    ).run()


if __name__ == "__main__":
    trio.run(serve, sys.argv[1])
