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
    Multi,
    Release,
    Target,
)

_OF_CLAIMS: Final = frozenset({Claim, ClaimFirst, ClaimInfo, Claims, ClaimSettings, Fence, Release})
_TARGETS: Final = frozenset({Target.CLAIM_TOKEN, Target.CLAIM_HOLDER, Target.CLAIM_COUNT})


def plain(op: Any) -> Any:
    """``op`` without the tokens that are presented with it."""
    return op.op if type(op) is FencedWrite else op


def parts(op: Any) -> tuple[Any, ...]:
    """Of both branches of a multi; ``op`` itself, if it is none."""
    op = plain(op)
    return (*op.then, *op.otherwise) if type(op) is Multi else (op,)


def about_claims(op: Any) -> bool:
    """Whether it changes claims, settings or fences, or its answer hangs on them: the model of the tree knows none."""
    op = plain(op)
    if type(op) is Multi and any(each.target in _TARGETS for each in op.compare):
        return True
    return any(type(each) in _OF_CLAIMS for each in parts(op))
