"""Holds: works of one token side by side, those of a greater one after them, and none of a lower one after that."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from coord.client import DeadlineExceeded, InvalidRequest, LimitExceeded
from coord.recipes.fencing import FileHolds, Holds, MemoryHolds, StaleToken, Token
from coord.recipes.fencing.durable import TokenFile, plain_name

KINDS: dict[str, Callable[..., Holds]] = {
    "memory": lambda folder, **more: MemoryHolds(**more),
    "files": lambda folder, **more: FileHolds(folder / "holds", **more),
}
kinds = pytest.mark.parametrize("kind", KINDS)


class Work:
    """A work in a thread, that ends when it is told to."""

    def __init__(self, pool: ThreadPoolExecutor, holds: Holds, name: str, token: Token) -> None:
        self.begun = threading.Event()
        self.end = threading.Event()
        self.done: Future[None] = pool.submit(self.run, holds, name, token)

    def run(self, holds: Holds, name: str, token: Token) -> None:
        with holds.hold(name, token):
            self.begun.set()
            assert self.end.wait(30)

    def finish(self) -> None:
        self.end.set()
        self.done.result(30)


@contextmanager
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as made:
        yield made


@kinds
def test_one_after_the_other(kind: str, tmp_path: Path) -> None:
    holds = KINDS[kind](tmp_path)
    with pool() as threads:
        old = [Work(threads, holds, "a", Token(1, 5)) for _ in range(2)]
        assert all(each.begun.wait(30) for each in old)  # side by side
        other = Work(threads, holds, "b", Token(1, 3))
        assert other.begun.wait(30)  # another name
        new = Work(threads, holds, "a", Token(1, 7))
        wait_until_seen(holds, "a", Token(1, 7))
        with (
            pytest.raises(StaleToken),
            holds.hold("a", Token(1, 5)),
        ):  # from the moment that the greater one has come
            pytest.fail("let in")
        old[0].finish()
        assert not new.begun.wait(0.05)
        old[1].finish()
        assert new.begun.wait(30)
        with pytest.raises(StaleToken), holds.hold("a", Token(1, 6)):
            pytest.fail("let in")
        another = Work(threads, holds, "a", Token(1, 7))
        assert another.begun.wait(30)
        for each in (new, another, other):
            each.finish()


def wait_until_seen(holds: Holds, name: str, token: Token) -> None:
    """Until ``token`` has come, if only to wait."""
    until = time.monotonic() + 30
    while time.monotonic() < until:
        if isinstance(holds, MemoryHolds):
            seen = holds._names[name].greatest
        else:
            assert isinstance(holds, FileHolds)
            seen = TokenFile(holds._folder / plain_name(name)).read()
        if seen == token:
            return
        time.sleep(0.001)
    pytest.fail("it never came")


@kinds
def test_who_waits_gives_way_to_one_who_is_greater_still(kind: str, tmp_path: Path) -> None:
    """1. 5 is at work. 2. 7 waits for it. 3. 9 comes. 4. 5 ends. 7 was never at work, and must not be any more."""
    holds = KINDS[kind](tmp_path)
    with pool() as threads:
        five = Work(threads, holds, "a", Token(1, 5))
        assert five.begun.wait(30)
        seven = Work(threads, holds, "a", Token(1, 7))
        wait_until_seen(holds, "a", Token(1, 7))
        nine = Work(threads, holds, "a", Token(1, 9))
        wait_until_seen(holds, "a", Token(1, 9))
        if kind == "memory":
            with pytest.raises(StaleToken):
                seven.done.result(30)  # at once, though 5 is still there
        five.finish()
        with pytest.raises(StaleToken):
            seven.done.result(30)
        assert not seven.begun.is_set()
        assert nine.begun.wait(30)
        nine.finish()


@kinds
def test_a_work_that_does_not_end_is_waited_for_until_the_deadline(kind: str, tmp_path: Path) -> None:
    holds = KINDS[kind](tmp_path, deadline=0.05)
    with pool() as threads:
        old = Work(threads, holds, "a", Token(1, 5))
        assert old.begun.wait(30)
        began = time.monotonic()
        with pytest.raises(DeadlineExceeded) as caught, holds.hold("a", Token(1, 7)):
            pytest.fail("let in")
        assert time.monotonic() - began >= 0.05
        assert caught.value.outcome == "refused"
        with pytest.raises(StaleToken), holds.hold("a", Token(1, 5)):
            pytest.fail("let in: 7 has been seen, though it was not let in")
        old.finish()
        with holds.hold("a", Token(1, 7)):
            pass


@kinds
def test_a_work_that_fails_has_ended(kind: str, tmp_path: Path) -> None:
    holds = KINDS[kind](tmp_path, deadline=0.0)
    for token in (Token(1, 5), Token(1, 7)):
        with pytest.raises(ValueError), holds.hold("a", token):
            raise ValueError
    with holds.hold("a", Token(1, 8)):
        pass


@kinds
def test_arguments(kind: str, tmp_path: Path) -> None:
    holds = KINDS[kind](tmp_path)
    for name, token in (("", Token(1, 5)), ("a", "1-5")):
        with pytest.raises(InvalidRequest), holds.hold(name, token):  # type: ignore[arg-type]
            pytest.fail("let in")


def test_memory_has_a_bound() -> None:
    holds = MemoryHolds(names_max=2)
    for name in ("a", "b", "a"):
        with holds.hold(name, Token(1, 5)):
            pass
    with pytest.raises(LimitExceeded) as caught, holds.hold("c", Token(1, 5)):
        pytest.fail("let in")
    assert caught.value.details == {"limit": "names_max", "maximum": 2}


def test_files_are_cleaned_up(tmp_path: Path) -> None:
    holds = FileHolds(tmp_path)
    for number in range(1, 20):
        with holds.hold("a", Token(1, number)):
            pass
    assert sorted(each.name for each in tmp_path.glob("*/*")) == ["greatest", "lock", "turn", "work-1-19"]


@pytest.mark.processes
def test_a_killed_process_has_ended_its_works(tmp_path: Path) -> None:
    code = """
import sys
from coord.recipes.fencing import FileHolds, Token
with FileHolds(sys.argv[1]).hold("a", Token(1, 5)):
    print("at work", flush=True)
    sys.stdin.read()
"""
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == "at work\n"
        with pytest.raises(DeadlineExceeded), FileHolds(tmp_path, deadline=0.0).hold("a", Token(1, 7)):
            pytest.fail("let in")
        child.kill()
        child.wait(30)
        with FileHolds(tmp_path, deadline=10.0).hold("a", Token(1, 7)):
            pass
    finally:
        child.kill()
        child.communicate()
