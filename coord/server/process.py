"""One member as a process: what ``coord serve`` runs. All that belongs to the process and not to a member is here:
signals, the collector, descriptors, the interpreter's switch interval.
"""

import gc
import resource
import signal
import sys
from collections.abc import Callable

import trio

from coord.server.causes import Stopped, run_trio
from coord.server.config import Config
from coord.server.garbage import collect_forever
from coord.server.member import Member

SWITCH_INTERVAL_S = 0.0002
"""How long a busy thread keeps the interpreter from one that is ready: the writer's, back from a sync that a quorum
waits for. CPython's default, 5 ms, is many syncs."""


def serve(config: Config, ready: Callable[[], None] | None = None) -> None:
    """Run one member until SIGINT or SIGTERM. ``ready`` is called once clients can be served.

    Raises :class:`ConfigError`, :class:`~coord.disk.errors.StorageError`, :class:`Stopped`.
    """
    if sys.flags.optimize:
        raise Stopped("coord does not run under python -O: it takes away checks that libraries rely on")
    _raise_descriptor_limit(config.replica_settings().limits.connections)
    sys.setswitchinterval(SWITCH_INTERVAL_S)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            member = Member(config)

            def loaded() -> None:
                gc.freeze()
                nursery.start_soon(collect_forever)

            nursery.start_soon(_stop_on_signal, member)
            await member.run(loaded=loaded, ready=ready)
            nursery.cancel_scope.cancel()

    # What is loaded stays: looking through a million znodes for garbage would take as long as a fifth of loading them.
    gc.collect()
    gc.disable()
    try:
        run_trio(main)
    finally:
        gc.enable()


async def _stop_on_signal(member: Member) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            member.stop()
            return


def _raise_descriptor_limit(wanted: int) -> None:
    """As many descriptors as the connections may need, if the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = min(wanted + 256, hard) if hard != resource.RLIM_INFINITY else wanted + 256
    if soft != resource.RLIM_INFINITY and soft < enough:
        resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))
