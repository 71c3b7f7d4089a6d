"""The house of the async tests in a thread of its own, and threads that a test can wait for."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from anyio.from_thread import BlockingPortal, start_blocking_portal

from coord.client.blocking import Client
from coord.limits import MemberLimits
from coord.replica.replica import Replica
from tests.client.house import Door, House, house


class Home:
    def __init__(self, portal: BlockingPortal, at: House) -> None:
        self._portal = portal
        self._at = at
        self.doors: list[Door] = at.doors
        self.endpoints: list[str] = at.endpoints
        self.replica: Replica = at.replica

    def cut(self, door: Door, *, shut: bool = False) -> None:
        self._portal.call(partial(self._at.cut, door, shut=shut))

    def do(self, function: Callable[[], object]) -> None:
        """In the house's thread."""
        self._portal.call(function)

    @property
    def sessions(self) -> int:
        """How many the service has now."""
        return self._portal.call(lambda: len(self.replica.state.store.sessions))


@contextmanager
def home(doors: int = 2, limits: MemberLimits | None = None) -> Iterator[Home]:
    with start_blocking_portal("trio") as portal:
        built = portal.wrap_async_context_manager(house(doors, limits))
        at = built.__enter__()
        try:
            yield Home(portal, at)
        finally:
            built.__exit__(None, None, None)  # without the test's own error, which would come out in a group


@contextmanager
def threads(count: int, work: Callable[[int], object]) -> Iterator[None]:
    """``work(0)``, ``work(1)``, … each in a thread, while the block runs; what one raised is raised at its end."""
    failures: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as error:  # noqa: BLE001  it is raised below
            failures.append(error)

    started = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for each in started:
        each.start()
    try:
        yield
    finally:
        for each in started:
            each.join()
    if failures:
        raise failures[0]


def sent(client: Client) -> int:
    """How many requests of ``client`` were sent, and are not answered."""
    return len(client._client._core._requests._waiting)


def client_threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "coord-client"]


def until(condition: Callable[[], object]) -> None:
    """Wait for what nobody tells."""
    while not condition():
        time.sleep(0.001)


@contextmanager
def ctrl_c(waits: Callable[[], object]) -> Iterator[None]:
    """Ctrl-C, as soon as ``waits()`` is true of the main thread, which runs the block."""
    main = threading.get_ident()

    def interrupt(_: int) -> None:
        until(waits)
        signal.pthread_kill(main, signal.SIGINT)

    try:
        with threads(1, interrupt):
            yield
    except KeyboardInterrupt:
        return
    raise AssertionError("what was to wait did not")
