"""What stands in the tree: written, read, and refused."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.recipes.queue import BadRecord
from coord.recipes.queue.record import (
    HISTORY_MAX,
    MESSAGE_MAX,
    TRACEBACK_MAX,
    Attempt,
    Dead,
    Dependent,
    Ended,
    Failure,
    TaskRecord,
    decode_dead,
    decode_ended,
    decode_task,
    encode_dead,
    encode_ended,
    encode_task,
)

RECORD = TaskRecord(1, "send", 1_700_000_000_000, arguments=b'{"to":"a"}')
FULL = replace(
    RECORD,
    writes=3,
    attempts=2,
    keep_ms=0,
    unique="a b",
    lanes=(("c:a", 2, 0, 0), ("r:b", 0, 50, 1)),
    begin_by=True,
    after=2,
    on="finish",
    passes="all",
    then=(Dependent("mail", "-", "5-x", 1, 3, 10, "finish"),),
    time_limit_ms=5,
    times=0,
    history=(Attempt(1, 2, 3, "w", Failure("OSError", "no\nline", "trace")),),
    headers={"trace": "1"},
)
ENDED = Ended(1, "succeeded", "send", 1, 2, 3, 4, "w1", value=b'{"a":[1]}')
FAILED = Ended(1, "failed", "send", 1, 2, failure=Failure("ValueError", "bad", "line 1\nline 2"))


@pytest.mark.parametrize("record", [RECORD, FULL])
def test_a_record_is_read_as_it_was_written(record: TaskRecord) -> None:
    assert decode_task(encode_task(record)) == record


def test_a_record_is_two_lines_without_its_defaults() -> None:
    assert encode_task(RECORD) == b'{"v":1,"task":"send","at_ms":1700000000000}\n{"to":"a"}'


@pytest.mark.parametrize("ended", [ENDED, FAILED])
def test_an_end_is_read_as_it_was_written(ended: Ended) -> None:
    assert decode_ended(encode_ended(ended)) == ended


def test_a_dead_letter_is_read_as_it_was_written() -> None:
    dead = Dead("gpu", FAILED, FULL)
    assert decode_dead(encode_dead(dead)) == dead


@given(st.binary(max_size=60))
def test_whatever_stands_there_is_a_record_or_refused(value: bytes) -> None:
    for decode in (decode_task, decode_ended, decode_dead):
        with pytest.raises(BadRecord):
            decode(value)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"", "the whole"),
        (b"[]", "the whole"),
        (b'{"v":1,"task":"a"}', "at_ms"),
        (b'{"v":2,"task":"a","at_ms":1}', "version 2"),
        (b'{"v":1,"task":"a","at_ms":1,"after":-1}', "after"),
        (
            b'{"v":1,"task":"a","at_ms":1,"then":[{"queue":"a","needs":"-","id":"x","n":0,"of":0}]}',
            "then.0.of",
        ),
        (b'{"v":1,"task":"a","at_ms":1,"lanes":[["a",1]]}', "lanes"),
        (b'{"v":1,"task":"a","at_ms":1,"passes":"some"}', "passes"),
    ],
)
def test_what_is_wrong_is_said(line: bytes, says: str) -> None:
    with pytest.raises(BadRecord) as caught:
        decode_task(line + b"\n{}")
    assert says in caught.value.message
    assert caught.value.outcome == "refused"


def test_a_field_of_a_later_program_is_passed_over() -> None:
    assert decode_task(b'{"v":1,"task":"a","at_ms":1,"colour":"red"}\n{}').task == "a"


def test_what_a_failure_tells_has_a_bound_and_is_text() -> None:
    failure = Failure.of(ValueError("\ud800" + "x" * 5_000), "y" * 20_000 + "the end")
    assert failure.type == "ValueError"
    assert len(failure.message) == MESSAGE_MAX
    assert len(failure.traceback) == TRACEBACK_MAX
    assert failure.traceback.endswith("the end")
    record = RECORD.with_attempt(Attempt(1, 1, 1, "w", failure))
    assert decode_task(encode_task(record)) == record
    assert Failure.of(BadRecord("x")).type == "coord.recipes.queue.errors.BadRecord"


def test_the_last_attempts_are_remembered_and_the_last_traceback() -> None:
    record = RECORD
    for n in range(1, HISTORY_MAX + 6):
        record = record.with_attempt(Attempt(n, 1, 1, f"w{n % 2}", Failure("E", "", f"trace {n}")))
    assert record.attempts == HISTORY_MAX + 5
    assert [each.n for each in record.history] == list(range(6, HISTORY_MAX + 6))
    assert [each.failure.traceback for each in record.history if each.failure.traceback] == ["trace 25"]
    assert record.workers == {"w0", "w1"}
