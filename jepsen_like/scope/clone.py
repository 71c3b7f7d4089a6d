"""A fast deep copy of plain state: slots, dataclasses, lists, dicts, deques, sets, tuples.

``copy.deepcopy`` asks every value how it wants to be copied; here each class is looked at once, and what cannot change
is shared. Anything that is none of the known kinds raises TypeError: a copy that shares by accident would let one
branch of an exploration leak into another.
"""

import enum
import types
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Any, Final, TypeVar

T = TypeVar("T")
_Plan = Callable[[Any, dict[int, Any]], Any]

_ATOMS = (int, float, str, bytes, bool, type(None), frozenset, type, types.FunctionType, enum.Enum)
"""What is shared. Frozen dataclasses are, too."""

PLAIN: Final = frozenset({int, float, str, bytes, bool, type(None)})
"""Most of all values, which no function need be called for."""

_UNSET: Final = object()

_plans: dict[type, _Plan] = {}

_fixed: dict[int, tuple[Any, ...]] = {}
"""Tuples with nothing in them that can change, by id; kept, so that the id stays theirs. Clones share them, so few are
looked into twice."""


def clone(value: T) -> T:
    """A copy of ``value`` that shares nothing that can change; what is one object in there is one in the copy."""
    copied: T = _clone(value, {})
    return copied


def slots_of(kind: type) -> tuple[str, ...]:
    """The names of all slots of a class, its bases' first."""
    names: list[str] = []
    for base in reversed(kind.__mro__):
        slots = base.__dict__.get("__slots__", ())
        names += [slots] if isinstance(slots, str) else list(slots)
    return tuple(name for name in names if name not in ("__dict__", "__weakref__"))


def is_atom(kind: type) -> bool:
    """Whether values of this class never change, and so may be shared."""
    if issubclass(kind, _ATOMS):
        return True
    return is_dataclass(kind) and bool(kind.__dataclass_params__.frozen)  # type: ignore[attr-defined]


def never_changes(value: tuple[Any, ...]) -> bool:
    """Whether nothing in there can change either."""
    return _clone_tuple(value, {}) is value


def _clone(value: Any, memo: dict[int, Any]) -> Any:
    kind = type(value)
    plan = _plans.get(kind)
    if plan is None:
        plan = _plans[kind] = _make_plan(kind)
    return plan(value, memo)


def _make_plan(kind: type) -> _Plan:
    if is_atom(kind):
        return _share
    if issubclass(kind, tuple):
        return _clone_tuple
    if kind in (dict, OrderedDict):
        return _clone_dict
    if kind in (list, deque):
        return _clone_sequence
    if kind is set:
        return _clone_set  # of things that hash, so that never change
    if kind is types.MethodType:
        return _clone_method
    if issubclass(kind, list):
        return _plan_of_list_with_slots(kind)
    if kind.__module__.split(".")[0] in ("builtins", "collections", "types", "functools", "itertools"):
        raise TypeError(f"scope/clone.py does not know how to copy a {kind.__qualname__}")
    return _plan_of_object(kind)


def _share(value: Any, memo: dict[int, Any]) -> Any:
    return value


def _clone_tuple(value: Any, memo: dict[int, Any]) -> Any:
    if id(value) in _fixed:
        return value
    copied = [each if type(each) in PLAIN else _clone(each, memo) for each in value]
    for before, after in zip(value, copied, strict=True):
        if before is not after:
            make = getattr(type(value), "_make", tuple)
            return make(copied)
    _fixed[id(value)] = value
    return value


def _clone_dict(value: Any, memo: dict[int, Any]) -> Any:
    known = memo.get(id(value))
    if known is None:
        memo[id(value)] = known = type(value)()
        for key, each in value.items():
            known[key] = each if type(each) in PLAIN else _clone(each, memo)
    return known


def _clone_sequence(value: Any, memo: dict[int, Any]) -> Any:
    known = memo.get(id(value))
    if known is None:
        memo[id(value)] = known = type(value)()
        known.extend([each if type(each) in PLAIN else _clone(each, memo) for each in value])
    return known


def _clone_set(value: set[Any], memo: dict[int, Any]) -> Any:
    known = memo.get(id(value))
    if known is None:
        memo[id(value)] = known = set(value)
    return known


def _clone_method(value: Any, memo: dict[int, Any]) -> Any:
    """Of the copied object: the store tells what is derived from it by such methods, and a shared one would tell the
    original's.
    """
    return types.MethodType(value.__func__, _clone(value.__self__, memo))


def _plan_of_object(kind: type) -> _Plan:
    names = slots_of(kind)
    has_dict = kind.__dictoffset__ != 0
    put = object.__setattr__
    new: Callable[[type], Any] = object.__new__

    def plan(value: Any, memo: dict[int, Any]) -> Any:
        known = memo.get(id(value))
        if known is None:
            memo[id(value)] = known = new(kind)
            for name in names:
                each = getattr(value, name, _UNSET)
                if each is not _UNSET:
                    put(known, name, each if type(each) in PLAIN else _clone(each, memo))
            if has_dict:
                for name, each in value.__dict__.items():
                    known.__dict__[name] = _clone(each, memo)
        return known

    return plan


def _plan_of_list_with_slots(kind: type) -> _Plan:
    names = slots_of(kind)

    def plan(value: Any, memo: dict[int, Any]) -> Any:
        known = memo.get(id(value))
        if known is None:
            memo[id(value)] = known = list.__new__(kind)
            known.extend([_clone(each, memo) for each in value])
            for name in names:
                if hasattr(value, name):
                    setattr(known, name, _clone(getattr(value, name), memo))
        return known

    return plan
