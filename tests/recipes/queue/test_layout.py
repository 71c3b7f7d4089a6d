"""Paths, ids and keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coord.api.paths import is_valid_name
from coord.client import InvalidRequest
from coord.recipes.queue import layout
from coord.recipes.queue.layout import COUNTS, KEY_BYTES_MAX, Layout, is_id, key_name, key_of, task_id

KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(
    lambda key: len(key.encode()) <= KEY_BYTES_MAX
)


def test_names_in_their_order_are_priorities_then_age_then_count() -> None:
    def made(priority: int, revision: int, count: int) -> str:
        return task_id(priority, revision, count, b"\xff" * 6 if count % 2 else b"\0" * 6)

    wanted = [
        made(0, 9, 4),
        made(5, 2, 9),
        made(5, 10, 1),
        made(5, 10, 2),
        made(5, 1 << 40, 0),
        made(9, 0, 0),
    ]
    assert sorted(wanted) == wanted
    assert all(is_id(each) for each in wanted)
    assert layout.priority_of(wanted[-1]) == 9
    assert is_id(task_id(5, 1, COUNTS + 3, b"\0" * 6))  # the count goes round
    assert not is_id("5-12-3")
    assert not is_id(wanted[0].upper().replace("0", "x"))


@given(KEYS)
def test_a_key_is_one_name(key: str) -> None:
    name = key_name(key)
    assert is_valid_name(name)
    assert key_of(name) == key
    path = Layout("/tasks/a").queue("mail").unique(key)
    assert path.count("/") == 6
    assert len(path.encode()) < 1_000


@pytest.mark.parametrize("key", ["", "x" * (KEY_BYTES_MAX + 1), 3, "\ud800"])
def test_what_is_no_key(key: str) -> None:
    with pytest.raises(InvalidRequest):
        key_name(key)


def test_needs_and_their_folder() -> None:
    assert layout.folder_name(frozenset()) == "-"
    assert layout.folder_name(frozenset({"region:eu", "gpu"})) == "gpu,region:eu"
    odd = frozenset({"a,b", "a", "b/c", "ü"})
    assert layout.needs_of(layout.folder_name(odd)) == odd
    assert "/" not in layout.folder_name(odd)
    assert layout.needs_of("-") == frozenset()
    assert layout.checked_needs(["gpu", "gpu"]) == {"gpu"}
    for wrong in ("gpu", [""], ["-"], [3], 7, [str(n) for n in range(9)]):
        with pytest.raises(InvalidRequest):
            layout.checked_needs(wrong)


def test_a_marker_names_a_task() -> None:
    id = task_id(5, 1, 2, b"123456")
    assert layout.marked(layout.marker("gpu", id)) == ("gpu", id)
    for strange in (b"", b"gpu", b"gpu/5", b"\xff\xff/", b"/" + id.encode()):
        assert layout.marked(strange) is None


def test_a_queue_of_the_same_app() -> None:
    paths = Layout("/tasks/a").queue("mail")
    assert paths.sibling("mail") is paths
    assert paths.sibling("other").task("-", "x") == "/tasks/a/queues/other/ready/-/x"
    for wrong in ("", "a/b", ".hidden", "x" * 300):
        with pytest.raises(InvalidRequest):
            Layout("/tasks/a").queue(wrong)
    for root in ("", "tasks", "/", "/a/"):
        with pytest.raises(InvalidRequest):
            Layout(root)
