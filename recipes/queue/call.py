"""One call of a task's function, and several that hang together. Values: nothing happens before they are enqueued."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, overload

from coord.client import InvalidRequest
from coord.recipes.queue.options import AT_CALL, Options

if TYPE_CHECKING:
    from coord.recipes.queue.app import TaskFunction

R = TypeVar("R", covariant=True)
S = TypeVar("S")

WORKFLOW_MAX: Final = 1_000
"""Tasks of one workflow: it is enqueued whole, by one request."""


class Workflow(Generic[R]):
    """A :class:`Call`, a :class:`Chain` or a :class:`Group`: what can be enqueued. ``R``: what comes out at its end."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, eq=False)
class Call(Workflow[R]):
    """A call that is not made yet: ``send.call("a@b")``."""

    function: "TaskFunction[..., R]"
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    options: Options
    takes_inputs: bool = True
    said: frozenset[str] = frozenset()
    """Which options were said for this call."""

    def with_(self, **said: Any) -> "Call[R]":
        """The same with other options: ``queue``, ``priority``, ``needs``, ``delay``, ``deadline``, ``unique``,
        ``same``, ``same_for``, ``concurrency``, ``rate``, ``after``, ``on``, ``keep``, ``times``, ``time_limit``,
        ``headers``.
        """
        wrong = sorted(said.keys() - AT_CALL)
        if wrong:
            raise InvalidRequest(
                f"{wrong[0]!r:.60} is not an option of a call; it has {', '.join(sorted(AT_CALL))}. How a task is run "
                "is said where its function is defined: @app.task(…)"
            )
        return replace(self, options=self.options.with_(said), said=self.said | said.keys())

    def ignoring_inputs(self) -> "Call[R]":
        """The same, without the results of what it comes after as its first argument; they are in
        ``context().inputs``.
        """
        return replace(self, takes_inputs=False)


@dataclass(frozen=True, slots=True, eq=False)
class Chain(Workflow[R]):
    """One after the other, each with the result of the one before as its first argument: :func:`chain`."""

    steps: tuple[Workflow[Any], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Group(Workflow[list[R]]):
    """All at the same time: :func:`group`. Its end is the list of results, in the order of its members."""

    members: tuple[Workflow[R], ...]

    def then(self, call: Call[S]) -> Chain[S]:
        """``call`` when all are done, with the list of their results as its first argument."""
        return chain(self, call)


@overload
def chain(last: Workflow[S], /) -> Chain[S]: ...
@overload
def chain(first: Workflow[Any], last: Workflow[S], /) -> Chain[S]: ...
@overload
def chain(first: Workflow[Any], second: Workflow[Any], last: Workflow[S], /) -> Chain[S]: ...
@overload
def chain(
    first: Workflow[Any], second: Workflow[Any], third: Workflow[Any], last: Workflow[S], /
) -> Chain[S]: ...
@overload
def chain(*steps: Workflow[Any]) -> Chain[Any]: ...
def chain(*steps: Workflow[Any]) -> Chain[Any]:
    """Enqueued whole, or not at all. If one does not succeed the rest is skipped (unless a call says
    ``on="finish"``).
    """
    if not steps or not all(isinstance(each, Workflow) for each in steps):
        raise InvalidRequest("a chain is made of calls and groups: chain(first.call(1), second.call())")
    return Chain(steps)


def group(members: Iterable[Workflow[R]]) -> Group[R]:
    """Enqueued whole, or not at all."""
    found = tuple(members)
    if not found or not all(isinstance(each, Workflow) for each in found):
        raise InvalidRequest(
            "a group is made of calls and chains, of one at least: group([a.call(1), a.call(2)])"
        )
    return Group(found)
