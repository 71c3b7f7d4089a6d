"""Arguments and results as JSON."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel

from coord.client import CoordError, InvalidRequest
from coord.recipes.queue import BadArguments, TooLarge
from coord.recipes.queue.signature import Signature


class Order(BaseModel):
    id: int
    lines: list[str] = []


@dataclass
class Point:
    x: float
    y: float = 0.0


def mixed(
    when: datetime, /, order: Order, *rest: int, copy: bytes = b"", **more: Point
) -> dict[str, Point]: ...


def plain(a, b=2, _c=3):  # type: ignore[no-untyped-def]  # nothing is declared, so anything goes that JSON has
    return a


def total(numbers: list[int], factor: int = 1) -> int: ...


def test_arguments_of_all_sorts_come_through() -> None:
    signature = Signature("mixed", mixed)
    when = datetime(2026, 1, 2, tzinfo=UTC)
    data = signature.encode(
        (when, {"id": "7"}, 1, "2"), {"copy": b"\xff\0", "model_config": {"x": 1}, "p0": Point(1)}
    )
    bound = signature.decode(data)
    assert bound.args == (when, Order(id=7), 1, 2)
    assert bound.kwargs == {"copy": b"\xff\0", "model_config": Point(1), "p0": Point(1)}


def test_arguments_stand_by_name_and_defaults_are_not_written() -> None:
    signature = Signature("plain", plain)
    data = signature.encode((1,), {"_c": None})
    assert data == b'{"a":1,"_c":null}'
    bound = signature.decode(data)
    assert plain(*bound.args, **bound.kwargs) == 1
    assert bound.arguments == {"a": 1, "_c": None}

    def later(a: int, b: int = 2, _c: Any = 3, new: str = "x") -> None: ...

    assert Signature("plain", later).decode(data).arguments == {"a": 1, "_c": None}


@pytest.mark.parametrize(
    ("args", "kwargs", "says"),
    [
        ((), {}, "missing a required argument: 'numbers'"),
        (([1], 2, 3), {}, "too many positional arguments"),
        (([1],), {"colour": 1}, "unexpected keyword argument 'colour'"),
        ((["one"],), {}, "numbers.0: "),
        (([1],), {"factor": 1.5}, "factor: "),
    ],
)
def test_what_does_not_fit_is_said(args: tuple[Any, ...], kwargs: dict[str, Any], says: str) -> None:
    with pytest.raises(BadArguments) as caught:
        Signature("total", total).encode(args, kwargs)
    assert says in caught.value.message
    assert caught.value.details["problems"]


def test_what_json_has_no_word_for() -> None:
    with pytest.raises(BadArguments):
        Signature("plain", plain).encode((object(),), {})
    with pytest.raises(BadArguments):
        Signature("plain", plain).encode_result(object())

    def odd(lock: CoordError) -> None: ...

    def unknown(a: "Nowhere") -> None: ...  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(InvalidRequest, match="JSON cannot hold"):
        Signature("odd", odd)
    with pytest.raises(InvalidRequest, match="cannot be evaluated"):
        Signature("unknown", unknown)


def test_the_first_is_passed_on() -> None:
    signature = Signature("total", total)
    assert signature.encode((), {}, "all") == b"{}"
    assert signature.decode(b"{}", "all", [b"1", b" 2 "]).args == ([1, 2],)
    data = signature.encode((5,), {}, "one")
    assert data == b'{"factor":5}'
    assert signature.decode(data, "one", [b"[3]"]).args == ([3], 5)
    assert signature.decode(b'{"factor": 5}', "all", []).args == ([], 5)
    with pytest.raises(BadArguments, match=r"numbers\.1"):
        signature.decode(data, "all", [b"1", b'"x"'])
    with pytest.raises(BadArguments, match="factor"):
        signature.encode(("x",), {}, "one")
    with pytest.raises(BadArguments, match="too many"):
        signature.encode((1, 2), {}, "one")

    def nothing() -> None: ...

    with pytest.raises(BadArguments, match="ignoring_inputs"):
        Signature("nothing", nothing).encode((), {}, "one")


def test_what_stands_there_is_checked_where_it_is_run() -> None:
    signature = Signature("total", total)
    for data in (b"", b"[]", b"{}", b'{"numbers":3}', b'{"numbers":[],"other":1}', b"\xff", b'{"p0":[1]}'):
        with pytest.raises(BadArguments):
            signature.decode(data)
        with pytest.raises(BadArguments):
            signature.decode(data + b"x", "one", [b'"x"'])


def test_results() -> None:
    signature = Signature("mixed", mixed)
    data = signature.encode_result({"a": Point(1, 2)})
    assert data == b'{"a":{"x":1.0,"y":2.0}}'
    assert signature.decode_result(data) == {"a": Point(1, 2)}
    with pytest.raises(BadArguments, match="not declared to"):
        signature.encode_result(3)
    with pytest.raises(BadArguments):
        signature.decode_result(b"3")

    def infinite() -> float: ...

    assert Signature("f", infinite).decode_result(
        Signature("f", infinite).encode_result(float("inf"))
    ) == float("inf")

    def model() -> Order: ...

    assert Signature("m", model).decode_result(b'{"id":1}') == Order(id=1)


def test_both_have_a_bound() -> None:
    signature = Signature("plain", plain, bytes_max=100)
    assert signature.encode(("x" * 90,), {})
    with pytest.raises(TooLarge) as caught:
        signature.encode(("x" * 100,), {})
    assert caught.value.details == {"limit": "arguments", "maximum": 100}
    with pytest.raises(TooLarge) as caught:
        signature.encode_result("x" * 100)
    assert caught.value.details == {"limit": "result", "maximum": 100}
