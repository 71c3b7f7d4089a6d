"""A worker that goes on: when its session is lost it connects anew, and takes tasks again."""

import logging
from collections.abc import Callable
from typing import Any, Final

import anyio

from coord.client import Connecting, CoordError, Disconnected, SessionEnded, Unavailable
from coord.recipes.queue.app import App
from coord.recipes.queue.worker.worker import Worker, worker_name

log = logging.getLogger("coord.worker")

PAUSE_S: Final = 1.0
"""After a connection that could not be made."""


class Serving:
    """``await Serving(lambda: connect(endpoints), app, queues=["mail"]).run()``; the arguments are those of
    :class:`~coord.recipes.queue.worker.Worker`. ``ready`` is called each time it takes tasks.
    """

    def __init__(
        self,
        connecting: Callable[[], Connecting],
        app: App,
        *,
        until_drained: bool = False,
        ready: Callable[[], object] = lambda: None,
        **options: Any,
    ) -> None:
        self._connecting = connecting
        self._app = app
        self._until_drained = until_drained
        self._ready = ready
        self._options = {"name": worker_name(), **options}  # one name, whatever becomes of its sessions
        self.worker: Worker | None = None
        self._stops = 0
        self._stopped = anyio.Event()
        self._scope = anyio.CancelScope()

    def stop(self) -> None:
        """As :meth:`Worker.stop`: a second time is at once."""
        self._stops += 1
        self._stopped.set()
        if self.worker is not None:
            self.worker.stop()
        else:
            self._scope.cancel()  # nothing is there yet to be finished

    async def run(self) -> None:
        """Until it is stopped, or drained. Raises :class:`CoordError` when there is no use in trying again."""
        while not self._stops:
            try:
                with anyio.CancelScope() as self._scope:
                    async with self._connecting() as client:
                        worker = self.worker = Worker(client, self._app, **self._options)
                        await self._work(worker)
                        return
            except (SessionEnded, Disconnected) as error:
                log.error("the session is over; connecting anew: %s", error)
            except Unavailable as error:
                log.error("%s", error)
                with anyio.move_on_after(PAUSE_S):
                    await self._stopped.wait()
            finally:
                self.worker = None

    async def _work(self, worker: Worker) -> None:
        failure: CoordError | None = None
        async with anyio.create_task_group() as tasks:

            async def tell() -> None:
                await worker.wait_ready()
                self._ready()

            tasks.start_soon(tell)
            try:
                await (worker.serve_until_drained() if self._until_drained else worker.run())
            except CoordError as error:
                failure = error  # out of a group's hands it would come wrapped
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure
