"""A plan: one request, and what its answer means; made without a client, so that it can be tested, simulated and
batched without one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from coord.client import (
    Client,
    Compare,
    Create,
    Delete,
    ExistsOp,
    Get,
    HoldBack,
    Multi,
    MultiResult,
    Operator,
    Release,
    Set,
    SetLanes,
    Target,
)

A = TypeVar("A", covariant=True)

Op: TypeAlias = Create | Set | Delete | Get | ExistsOp | Release | HoldBack | SetLanes | Multi


@dataclass(frozen=True, slots=True)
class Plan(Generic[A]):
    """If all of ``compare`` holds do ``then``, else ``otherwise``, which only reads why; ``read`` what came of it."""

    compare: tuple[Compare, ...]
    then: tuple[Op, ...]
    otherwise: tuple[Op, ...]
    read: Callable[[MultiResult], A]
    """Raises the :class:`~coord.client.CoordError` that it was refused with, where there is one."""

    def multi(self) -> Multi:
        """The same as an op, for a branch of another."""
        return Multi(self.compare, self.then, self.otherwise)


async def carry_out(client: Client, plan: Plan[A], *, deadline: float | None = None) -> A:
    """Ask, and read the answer. Raises as any write does."""
    return plan.read(await client.multi(plan.compare, plan.then, plan.otherwise, deadline=deadline))


def if_so(compare: Sequence[Compare], then: Sequence[Op], otherwise: Sequence[Op] = ()) -> Multi:
    """A nested multi: nothing is refused where the conditions do not hold."""
    return Multi(tuple(compare), tuple(then), tuple(otherwise))


def nested(result: MultiResult, position: int) -> MultiResult:
    """The result of the nested multi at this position."""
    found = result.results[position]
    if not isinstance(found, MultiResult):
        raise TypeError(f"the op at {position} was no multi: {found!r:.80}")
    return found


# --- conditions ------------------------------------------------------------------------------------------------------


def is_there(path: str) -> Compare:
    return Compare(Target.EXISTS, path, Operator.EQUAL, True)


def is_missing(path: str) -> Compare:
    return Compare(Target.EXISTS, path, Operator.EQUAL, False)


def has_version(path: str, version: int) -> Compare:
    return Compare(Target.VERSION, path, Operator.EQUAL, version)


def has_value(path: str, value: bytes) -> Compare:
    return Compare(Target.VALUE, path, Operator.EQUAL, value)


def has_children(path: str, count: int) -> Compare:
    return Compare(Target.CHILD_COUNT, path, Operator.EQUAL, count)


def has_room(path: str, more: int, children_max: int) -> Compare:
    """For so many more children; and the znode is there."""
    return Compare(Target.CHILD_COUNT, path, Operator.LESS, max(children_max - more + 1, 0))


def is_claimed_by(path: str, token: int) -> Compare:
    return Compare(Target.CLAIM_TOKEN, path, Operator.EQUAL, token)


def is_claimed(path: str) -> Compare:
    return Compare(Target.CLAIM_COUNT, path, Operator.GREATER, 0)


def is_unclaimed(path: str) -> Compare:
    return Compare(Target.CLAIM_COUNT, path, Operator.EQUAL, 0)
