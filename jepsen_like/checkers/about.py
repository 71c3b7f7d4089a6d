"""What an op is about: the tree, or claims and fences."""

from typing import Any, Final

from coord.api.ops import (
    Claim,
    ClaimFirst,
    ClaimInfo,
    Claims,
    ClaimSettings,
    Fence,
    FencedWrite,
    HoldBack,
    Multi,
    Release,
    SetLanes,
    Target,
)

_OF_CLAIMS: Final = frozenset(
    {Claim, ClaimFirst, ClaimInfo, Claims, ClaimSettings, Fence, HoldBack, Release, SetLanes}
)
_TARGETS: Final = frozenset({Target.CLAIM_TOKEN, Target.CLAIM_HOLDER, Target.CLAIM_COUNT})


def plain(op: Any) -> Any:
    """``op`` without the tokens that are presented with it."""
    return op.op if type(op) is FencedWrite else op


def parts(op: Any) -> tuple[Any, ...]:
    """Of both branches of a multi, on all levels; ``op`` itself, if it is none."""
    op = plain(op)
    if type(op) is not Multi:
        return (op,)
    return tuple([part for each in (*op.then, *op.otherwise) for part in parts(each)])


def targets(op: Any) -> tuple[Target, ...]:
    """What the comparisons of a multi look at, on all levels."""
    if type(op) is not Multi:
        return ()
    within = [target for each in (*op.then, *op.otherwise) for target in targets(each)]
    return (*[each.target for each in op.compare], *within)


def about_claims(op: Any) -> bool:
    """Whether it changes claims, settings or fences, or its answer hangs on them: the model of the tree knows none."""
    op = plain(op)
    if any(each in _TARGETS for each in targets(op)):
        return True
    return any(type(each) in _OF_CLAIMS for each in parts(op))
