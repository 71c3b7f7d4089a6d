"""Callbacks that want to know of states. They are the user's code, and what they raise is the user's."""

import inspect
import logging
from collections import deque
from collections.abc import Callable

from coord.api.errors import InvalidRequest
from coord.client.core import State

log = logging.getLogger("coord.client")

Callback = Callable[[State], object]


class Listeners:
    """Invariant: nothing is held for longer than it takes the client's task to come to it. A state takes a
    connection to be entered, so that there are never many.
    """

    def __init__(self) -> None:
        self._callbacks: dict[object, Callback] = {}
        self._news: deque[State] = deque()

    def add(self, callback: Callback) -> Callable[[], None]:
        """Returns a function that takes it away again. Raises :class:`InvalidRequest` (refused)."""
        if not callable(callback):
            raise InvalidRequest(f"on_state takes a function of a State, not {callback!r:.40}")
        if inspect.iscoroutinefunction(callback):
            raise InvalidRequest(
                f"on_state calls {_named(callback)} and does not await it: give it a plain function, or use "
                "'async for state in client.states()' in a task of your own"
            )
        key = object()
        self._callbacks[key] = callback

        def forget() -> None:
            self._callbacks.pop(key, None)

        return forget

    def entered(self, state: State) -> None:
        if self._callbacks:
            self._news.append(state)

    def tell(self) -> None:
        """Call everybody, for every state in order. Raises nothing."""
        while self._news:
            state = self._news.popleft()
            for key, callback in list(self._callbacks.items()):
                if key not in self._callbacks:
                    continue  # one before has just taken it away
                try:
                    callback(state)
                except Exception:
                    log.exception(
                        "%s, a callback of on_state, failed; it was told %s", _named(callback), state.name
                    )


def _named(callback: Callback) -> str:
    return getattr(callback, "__qualname__", None) or repr(callback)
