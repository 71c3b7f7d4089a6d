"""Plain state as nested tuples: equal exactly when the states are, whatever the run or ``PYTHONHASHSEED``.

Every slot of every class goes in, so a field that is added to the core is part of the state the day it is added. What
may be left out is not left out here but *rewritten* in the state itself (normal.py), where the reason stands.

Classes' names go in, too: two messages of different kinds with the same numbers are equal as tuples. Dicts and sets are
sorted: the order in which keys came may change the order of outputs, and the network here knows no order.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Any

from coord.jepsen_like.scope.clone import PLAIN, is_atom, never_changes, slots_of

_UNSET = "unset"

_frozen: dict[int, tuple[object, Any]] = {}
"""What never changes (settings, limits, entries, messages) by id, with the object, so that the id stays its own."""

_encoders: dict[type, Callable[[Any], Any]] = {}


def canonical(value: Any) -> Any:
    """``value`` as nested tuples of ints, strings, bytes and None. Raises TypeError for unordered keys."""
    kind = type(value)
    encoder = _encoders.get(kind)
    if encoder is None:
        encoder = _encoders[kind] = _make_encoder(kind)
    return encoder(value)


def _make_encoder(kind: type) -> Callable[[Any], Any]:
    if kind in (int, float, str, bytes, bool, type(None)):
        return lambda value: value
    if issubclass(kind, int):
        return int
    if issubclass(kind, tuple):
        return _encoder_of_tuple(() if kind is tuple else (kind.__qualname__,))
    if kind in (dict, OrderedDict):
        return _encode_dict
    if kind in (list, deque):
        return lambda value: tuple(_all(value)) if value else ()
    if kind in (set, frozenset):
        return lambda value: tuple(_all(sorted(value))) if value else ()
    if is_atom(kind) and not hasattr(kind, "__dataclass_fields__"):
        return lambda value: value.__qualname__ if hasattr(value, "__qualname__") else value.name
    if is_atom(kind):
        return _once(_encoder_of_object(kind))
    return _encoder_of_object(kind)


def _all(values: Iterable[Any]) -> list[Any]:
    return [each if type(each) in PLAIN else canonical(each) for each in values]


def _encode_dict(value: Any) -> Any:
    if not value:
        return ()
    keys = sorted(value)
    return tuple(zip(_all(keys), _all([value[key] for key in keys]), strict=True))


def _encoder_of_tuple(name: tuple[str, ...]) -> Callable[[Any], Any]:
    def encode(value: Any) -> Any:
        known = _frozen.get(id(value))
        if known is not None:
            return known[1]
        encoded = (*name, *_all(value))
        if never_changes(value):
            _frozen[id(value)] = (value, encoded)
        return encoded

    return encode


def _once(encoder: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def encode(value: Any) -> Any:
        known = _frozen.get(id(value))
        if known is None:
            known = _frozen[id(value)] = (value, encoder(value))
        return known[1]

    return encode


def _encoder_of_object(kind: type) -> Callable[[Any], Any]:
    names = tuple(sorted(slots_of(kind)))
    qualname = kind.__qualname__
    is_list = issubclass(kind, list)
    has_dict = getattr(kind, "__dictoffset__", 0) != 0

    def encode(value: Any) -> Any:
        fields = _all([getattr(value, name, _UNSET) for name in names])
        if is_list:
            fields.append(tuple(_all(value)))
        if has_dict:
            fields += [(name, canonical(value.__dict__[name])) for name in sorted(value.__dict__)]
        return (qualname, *fields)

    return encode
