"""A thread of its own as a trio task: owned by a nursery, which it brings down with its error."""

import threading
from collections.abc import Callable

import trio


async def run_thread(name: str, work: Callable[[], None], stop: Callable[[], None]) -> None:
    """Run ``work()`` in a thread, until it returns; raises what it raises.

    *Cancellation:* calls ``stop()``, which makes ``work`` return soon, and waits for that.
    """
    token = trio.lowlevel.current_trio_token()
    ended = trio.Event()
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # the task that waits raises it
            errors.append(error)
        token.run_sync_soon(ended.set)

    # A daemon: its task waits for it in any case, and where a member is a guest in a process (coord/testing), that
    # process must be able to end without asking it.
    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        await ended.wait()
    finally:
        stop()
        with trio.CancelScope(shield=True):
            await ended.wait()
        thread.join()
        if errors:
            raise errors[0]  # also over a cancellation: a failed last sync must not look like a clean stop
