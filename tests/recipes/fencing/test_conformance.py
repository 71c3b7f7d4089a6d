"""Our guards are guards; and guards that are broken in the ways that are met in the wild are found to be so."""

import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from coord.client import InvalidRequest
from coord.recipes.fencing import MemoryObjects, Token, conformance
from coord.recipes.fencing.conformance import CHECKS, THREAD_CHECKS, BrokenGuard, Effort, check_guard
from coord.recipes.fencing.storms import watch_storm
from coord.recipes.fencing.trial import hand
from tests.recipes.fencing import broken, subjects

EFFORT = Effort(rounds=20, lines_max=120, patience=0.02)

Maker = Callable[[Path], Any]

OURS: dict[str, Maker] = {
    "sqlite": lambda folder: partial(subjects.sqlite, folder, autocommit=False),
    "sqlite-autocommit": lambda folder: partial(subjects.sqlite, folder, autocommit=True),
    "sqlite-columns": lambda folder: partial(subjects.sqlite, folder, autocommit=True, rows=True),
    "file": lambda folder: partial(subjects.File, folder),
    "objects": lambda folder: partial(subjects.objects, folder),
    "file-holds": lambda folder: partial(subjects.held_by_files, subjects.Held, folder),
    "asgi": lambda folder: partial(subjects.held_by_files, subjects.Asgi, folder),
    "wsgi": lambda folder: partial(subjects.held_by_files, subjects.Wsgi, folder),
}


def in_memory(kind: Callable[..., Any]) -> Any:
    made = kind()
    return lambda: subjects.Object(made)


OURS_IN_MEMORY: dict[str, Maker] = {
    "memory-objects": lambda folder: in_memory(MemoryObjects),
    "s3-like": lambda folder: in_memory(subjects.S3Like),
    "memory-holds": lambda folder: subjects.held_in_memory(subjects.Held, folder),
    "asgi": lambda folder: subjects.held_in_memory(subjects.Asgi, folder),
    "wsgi": lambda folder: subjects.held_in_memory(subjects.Wsgi, folder),
}


@pytest.mark.processes
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", OURS)
def test_ours(name: str, check: conformance.Check, tmp_path: Path) -> None:
    check(OURS[name](tmp_path), EFFORT)


@pytest.mark.parametrize("check", THREAD_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", OURS_IN_MEMORY)
def test_ours_in_memory(name: str, check: conformance.Check, tmp_path: Path) -> None:
    check(OURS_IN_MEMORY[name](tmp_path), EFFORT)


POSTGRESQL: dict[str, dict[str, bool]] = {
    "read-committed": {"autocommit": False, "serializable": False},
    "read-committed-autocommit": {"autocommit": True, "serializable": False},
    "serializable": {"autocommit": False, "serializable": True},
    "columns": {"autocommit": True, "serializable": False, "rows": True},
}


@pytest.mark.processes
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", POSTGRESQL)
def test_ours_on_postgresql(name: str, check: conformance.Check, dsn: str) -> None:
    subjects.prepare_postgresql(dsn)
    check(partial(subjects.postgresql, dsn, **POSTGRESQL[name]), EFFORT)


@pytest.mark.processes
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_our_holds_on_postgresql(check: conformance.Check, dsn: str, tmp_path: Path) -> None:
    subjects.prepare_postgresql(dsn)
    check(partial(subjects.held_by_sql, tmp_path, dsn), EFFORT)


# --- broken ones are found -----------------------------------------------------------------------------------
# (That good ones pass the same checks stands above: `fails` is not just always true.)


FOUND: dict[str, tuple[type[broken.Sqlite], set[str]]] = {
    # what is broken: which checks must say so (others may)
    "check-then-act": (broken.CheckThenAct, {"a_holder_stopped_at_any_line_harms_nobody"}),
    "act-then-remember": (broken.ActThenRemember, {"a_holder_stopped_at_any_line_harms_nobody"}),
    "only-the-present-holder": (broken.OnlyThePresentHolder, {"greater_tokens_are_let_in"}),
    "remembers-in-itself": (broken.RemembersInItself, {"all_ways_lead_to_one_memory"}),
    "compares-texts": (broken.ComparesTexts, {"greater_tokens_are_let_in", "lower_tokens_are_refused"}),
    "forgets-the-incarnation": (broken.ForgetsTheIncarnation, {"greater_tokens_are_let_in"}),
    "one-memory-for-all-names": (broken.OneMemoryForAllNames, {"names_are_independent"}),
    "in-32-bits": (broken.In32Bits, {"lower_tokens_are_refused"}),
    "forgets-names": (broken.ForgetsNames, {"names_are_independent"}),
    "refuses-equal-ones": (broken.RefusesEqualOnes, {"equal_tokens_are_let_in"}),
    "writes-all-the-same": (broken.WritesAllTheSame, {"lower_tokens_are_refused"}),
    "says-nothing": (broken.SaysNothing, {"lower_tokens_are_refused"}),
}


@pytest.mark.parametrize("name", FOUND)
def test_broken_ones_are_found(name: str, tmp_path: Path) -> None:
    kind, expected = FOUND[name]
    found = {check.__name__ for check in THREAD_CHECKS if fails(check, partial(kind, tmp_path))}
    assert expected <= found


def test_a_value_of_another_name_is_a_story_too(tmp_path: Path) -> None:
    make = partial(broken.HoldsOneValueForAllNames, tmp_path)
    make().write("another", Token(1, 1), b"no token")
    with pytest.raises(BrokenGuard, match="nobody has written to it"), hand(make, EFFORT) as reader:
        watch_storm(reader, "a name", [], EFFORT)


@pytest.mark.processes
def test_one_that_forgets_with_its_process_is_found(tmp_path: Path) -> None:
    assert fails(
        conformance.it_remembers_when_its_process_is_killed, partial(broken.RemembersInItself, tmp_path)
    )


@pytest.mark.processes
def test_a_lock_inside_of_one_process_is_found(tmp_path: Path) -> None:
    """With threads it is a guard; it takes processes to see that it is none."""
    make = partial(broken.LocksItsProcess, tmp_path)
    conformance.a_holder_stopped_at_any_line_harms_nobody(make, EFFORT)
    conformance.a_storm_of_threads_never_goes_back(make, EFFORT)
    assert fails(conformance.a_storm_of_processes_never_goes_back, make) or fails(
        conformance.a_stopped_process_is_refused_when_it_goes_on, make
    )


def test_a_gap_inside_of_one_line_is_found_by_a_storm(tmp_path: Path) -> None:
    assert fails(
        conformance.a_storm_of_threads_never_goes_back,
        partial(broken.GapInALine, tmp_path),
        Effort(rounds=300),
    )


def test_one_that_never_ends_is_found(tmp_path: Path) -> None:
    asleep = threading.Event()

    class NeverEnds:
        def write(self, name: str, token: Token, value: bytes) -> None:
            asleep.wait()

        def read(self, name: str) -> bytes | None:
            return None

    with pytest.raises(BrokenGuard, match=r"no end of it after 0\.1 s"):
        conformance.greater_tokens_are_let_in(NeverEnds, Effort(limit=0.1))
    asleep.set()


def test_all_stories_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(BrokenGuard) as caught:
        check_guard(partial(broken.ComparesTexts, tmp_path), processes=False, effort=EFFORT)
    assert "greater_tokens_are_let_in: write(" in str(caught.value)
    assert "lower_tokens_are_refused: write(" in str(caught.value)


def test_the_story_of_a_stopped_holder(tmp_path: Path) -> None:
    with pytest.raises(BrokenGuard) as caught:
        conformance.a_holder_stopped_at_any_line_harms_nobody(partial(broken.CheckThenAct, tmp_path), EFFORT)
    assert "a holder with 1-5 was stopped in its write, before broken.py:" in str(caught.value)
    assert "its successor with 1-7 wrote meanwhile; then the holder went on, and now b'old' is held" in str(
        caught.value
    )


def test_what_other_processes_cannot_import_is_said_so() -> None:
    with pytest.raises(InvalidRequest, match="processes=False"):
        check_guard(lambda: subjects.Object(MemoryObjects()), effort=EFFORT)


def fails(check: conformance.Check, make: Any, effort: Effort = EFFORT) -> bool:
    try:
        check(make, effort)
    except BrokenGuard:
        return True
    return False
