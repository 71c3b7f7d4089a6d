"""One znode as a register, for the search: its state, and what each op does to it and must have answered.

``None`` is a znode that is not there. Else ``(value, version, token)``; the token stands for the revision of the last
write, as a name for that write and nothing more: the revision it was told, or a negative number if it was told none.
"""

from typing import Any, Final, NamedTuple, TypeAlias

from coord.api.ops import Compare, Create, Delete, Exists, Get, Kind, Multi, Operator, Set, Target
from coord.api.results import MultiResult, Stat, Znode

State: TypeAlias = tuple[bytes, int, int] | None

REFUSALS: Final = frozenset({"conflict", "exists", "not_found"})
"""That say something of a register. What else is refused did nothing, and says nothing."""

_COMPARED: Final = frozenset({Target.VALUE, Target.VERSION, Target.EXISTS})


class Call(NamedTuple):
    """``error``: a refusal's slug; ``token``: of what it writes."""

    op: Any
    is_known: bool
    error: str
    result: Any
    token: int


class _Refused(Exception):
    def __init__(self, slug: str) -> None:
        super().__init__(slug)
        self.slug = slug


def register_of(op: Any) -> str | None:
    """The one path that ``op`` is about, if it is an op of a register."""
    if isinstance(op, Multi):
        parts = [register_of(each) for each in (*op.then, *op.otherwise)]
        parts += [each.path if each.target in _COMPARED else None for each in op.compare]
        return parts[0] if parts and parts.count(parts[0]) == len(parts) else None
    if isinstance(op, Create):
        is_plain = op.kind is Kind.PERSISTENT and not op.sequential and not op.parents
        return op.path if is_plain else None
    if isinstance(op, Set):
        return None if op.parents else op.path
    if isinstance(op, Delete):
        return None if op.subtree else op.path
    return op.path if isinstance(op, Get | Exists) else None


def says_something(op: Any, error: str) -> bool:
    """Whether a refusal with ``error`` is one that the register's state decides."""
    if error not in REFUSALS:
        return False
    # What a create did not find is its parent.
    return error != "not_found" or not creates(op)


def creates(op: Any) -> bool:
    """Whether ``op`` may make the znode."""
    parts = (*op.then, *op.otherwise) if isinstance(op, Multi) else (op,)
    return any(isinstance(each, Create) or (isinstance(each, Set) and each.create) for each in parts)


def step(state: State, call: Call, claimed: frozenset[int]) -> tuple[bool, State]:
    """Whether ``call`` may take effect at ``state``, and what it leaves.

    ``claimed``: the tokens whose writes are known. A condition on any other revision may be on one that
    was told no revision; then both outcomes are possible.
    """
    try:
        after, answer = _apply(state, call.op, call.token, claimed, call.error == "conflict")
    except _Refused as refused:
        return (not call.is_known or refused.slug == call.error), state
    if call.is_known and (call.error or not _answers(call.op, answer, call.result)):
        return False, state
    return True, after


def _apply(
    state: State, op: Any, token: int, claimed: frozenset[int], was_conflict: bool
) -> tuple[State, Any]:
    """The state after, and the plain answer; or ``_Refused``."""
    if isinstance(op, Multi):
        succeeded = all(_holds(state, each) for each in op.compare)
        answers = []
        after = state
        for each in op.then if succeeded else op.otherwise:
            after, answer = _apply(after, each, token, claimed, was_conflict)
            answers.append(answer)
        return after, (succeeded, answers)
    if isinstance(op, Create):
        if state is not None:
            raise _Refused("exists")
        return (op.value, 0, token), op.path
    if isinstance(op, Exists):
        return state, state
    if state is None:
        if isinstance(op, Set) and op.create:
            if op.version is not None or op.revision is not None:
                raise _Refused("conflict")
            return (op.value, 0, token), 0
        if isinstance(op, Delete) and op.missing_ok:
            return None, 0
        raise _Refused("not_found")
    value, version, written = state
    if op.version is not None and op.version != version:
        raise _Refused("conflict")
    if op.revision is not None and op.revision != written:
        maybe = written < 0 and op.revision not in claimed
        if not maybe or was_conflict:
            raise _Refused("conflict")
    if isinstance(op, Set):
        return (op.value, version + 1, token), version + 1
    if isinstance(op, Delete):
        return None, 1
    return state, (value, version)


def _holds(state: State, compare: Compare) -> bool:
    if compare.target is Target.EXISTS:
        return ((state is not None) == compare.operand) is (compare.operator is Operator.EQUAL)
    if state is None:
        return False
    actual: Any = state[0] if compare.target is Target.VALUE else state[1]
    operand: Any = compare.operand
    holds: dict[Operator, bool] = {
        Operator.EQUAL: actual == operand,
        Operator.NOT_EQUAL: actual != operand,
        Operator.LESS: actual < operand,
        Operator.LESS_OR_EQUAL: actual <= operand,
        Operator.GREATER: actual > operand,
        Operator.GREATER_OR_EQUAL: actual >= operand,
    }
    return holds[compare.operator]


def _answers(op: Any, answer: Any, result: Any) -> bool:
    if isinstance(op, Multi):
        if not isinstance(result, MultiResult) or result.succeeded != answer[0]:
            return False
        branch = op.then if result.succeeded else op.otherwise
        return len(result.results) == len(answer[1]) and all(
            _answers(*each) for each in zip(branch, answer[1], result.results, strict=True)
        )
    if isinstance(op, Get):
        return isinstance(result, Znode) and (result.value, result.stat.version) == answer
    if isinstance(op, Exists):
        if result is None or answer is None:
            return result is answer
        return (
            isinstance(result, Stat) and result.version == answer[1] and result.data_length == len(answer[0])
        )
    if isinstance(op, Set):
        return bool(result.version == answer)
    return bool((result.path if isinstance(op, Create) else result.count) == answer)
