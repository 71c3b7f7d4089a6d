"""What a process waits for before its next step. Each says whether it has come, and what is handed to the process."""

from collections.abc import Callable
from typing import Any, Final, Protocol

from coord.api import ops
from coord.client.core.claims import OwnClaim
from coord.client.core.request import Request
from coord.jepsen_like.history import Operation
from coord.jepsen_like.workloads.clock import NEVER_NS
from coord.jepsen_like.workloads.workload import Watched

MS: Final = 1_000_000


class Call:
    """One request, from its call to its record."""

    __slots__ = ("at_least", "called_ns", "mode", "op", "operation")

    def __init__(self, op: ops.Op, mode: str, at_least: int, called_ns: int) -> None:
        self.op = op
        self.mode = mode
        self.at_least = at_least
        self.called_ns = called_ns
        self.operation: Operation | None = None
        """What was recorded; ``None``: it is still under way."""

    def set(self) -> None:
        """A claim's answer is here; whoever drives the core looks at it."""


class Waiting(Protocol):
    @property
    def until_ns(self) -> int:
        """When time alone ends it, or might."""

    def is_over(self, now_ns: int) -> bool: ...

    def outcome(self) -> Any: ...


class ForCalls:
    """All of them, and not before ``until_ns``."""

    def __init__(self, calls: list[Call], together: bool, until_ns: int) -> None:
        self._calls = calls
        self._together = together
        self.until_ns = until_ns

    def is_over(self, now_ns: int) -> bool:
        return now_ns >= self.until_ns and all(call.operation is not None for call in self._calls)

    def outcome(self) -> Any:
        operations = [call.operation for call in self._calls]
        return operations if self._together else operations[0]


class ForTime:
    """``outcome`` is of what was done at once."""

    def __init__(self, until_ns: int, outcome: Any = None) -> None:
        self.until_ns = until_ns
        self._outcome = outcome

    def is_over(self, now_ns: int) -> bool:
        return now_ns >= self.until_ns

    def outcome(self) -> Any:
        return self._outcome


class ForNews:
    def __init__(self, watched: Watched, until_ns: int) -> None:
        self._watched = watched
        self.until_ns = until_ns

    def is_over(self, now_ns: int) -> bool:
        watched = self._watched
        return bool(watched.news) or watched.over is not None or now_ns >= self.until_ns

    def outcome(self) -> Any:
        news, self._watched.news = self._watched.news, []
        return news


class ForGrant:
    """``look``: the claim, as long as it is one of the process."""

    def __init__(self, look: Callable[[], OwnClaim | None], until_ns: int) -> None:
        self._look = look
        self.until_ns = until_ns

    def is_over(self, now_ns: int) -> bool:
        claim = self._look()
        return claim is None or claim.token > 0 or now_ns >= self.until_ns

    def outcome(self) -> Any:
        return self._look()


class ForRequest:
    """The opening of a watch, or the end of the session: done, whichever way it went."""

    def __init__(self, request: Request, outcome: Any) -> None:
        self._request = request
        self._outcome = outcome
        self.until_ns = NEVER_NS

    def is_over(self, now_ns: int) -> bool:
        return self._request.done

    def outcome(self) -> Any:
        return self._outcome
