"""What a transaction sees of its own writes, against what its commit then makes of them."""

import copy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coord.api.errors import InvalidRequest
from coord.api.ops import Create, Delete, Kind, Multi, Set
from coord.client.core.overlay import Seen, WriteOp, in_doubt, names_after, znode_after
from tests.store.model import Model

SESSION = 1
NAMES = ["a", "b", "a0000000000"]
PATHS = [
    "/",
    *[f"/{one}" for one in NAMES],
    *[f"/{one}/{two}" for one in "ab" for two in NAMES],
    "/a/a/a",
    "/a/b/b",
]
WRITES = st.one_of(
    st.builds(
        Create,
        st.sampled_from(PATHS[1:]),
        st.sampled_from([b"", b"1"]),
        st.sampled_from([Kind.PERSISTENT, Kind.EPHEMERAL, Kind.CONTAINER]),
        st.sampled_from([False, False, False, True]),
        st.booleans(),
    ),
    st.builds(
        Set, st.sampled_from(PATHS), st.sampled_from([b"2", b"3"]), create=st.booleans(), parents=st.booleans()
    ),
    st.builds(Delete, st.sampled_from(PATHS[1:]), subtree=st.booleans()),
)  # fmt: skip


def seen(model: Model, path: str) -> Seen | None:
    found: dict[str, Any] | None = model.nodes.get(path)
    if found is None:
        return None
    return Seen(
        path,
        found["value"],
        found["version"],
        found["kind"],
        found["owner"],
        found["created"],
        found["modified"],
    )


def names(model: Model, path: str) -> list[str] | None:
    return model.children(path) if path in model.nodes else None


def known(before: Model, path: str, writes: list[WriteOp]) -> tuple[Seen | None, list[str] | None] | None:
    """The znode and its children as a transaction would have them; ``None``: it would say that it can't."""
    try:
        for each in in_doubt(path, writes):
            znode_after(seen(before, each), each, writes, SESSION)
        found = znode_after(seen(before, path), path, writes, SESSION)
        return found, names_after(names(before, path), path, writes)
    except InvalidRequest:
        return None


def accepted(before: Model, writes: list[WriteOp]) -> list[WriteOp]:
    """Those that would not be refused, one after the other."""
    model = copy.deepcopy(before)
    return [op for number, op in enumerate(writes) if model.request(SESSION, 200 + number, op)[0] == 0]


@settings(max_examples=200, deadline=None)
@given(st.lists(WRITES, max_size=12), st.lists(WRITES, min_size=1, max_size=8))
def test_what_is_seen_is_what_the_commit_makes(first: list[WriteOp], writes: list[WriteOp]) -> None:
    model = Model()
    assert model.open() == SESSION
    for number, op in enumerate(first):
        model.request(SESSION, number + 1, op)
    writes = accepted(model, writes)
    views = {path: known(model, path, writes) for path in PATHS}
    status, revision, _ = model.request(SESSION, 100, Multi(then=tuple(writes)))
    assert status == 0
    for path, view in views.items():
        if view is None:
            continue  # it would have been refused
        found, children = view
        assert children == names(model, path), (path, writes)
        after = seen(model, path)
        if found is None or after is None:
            assert found == after, (path, writes)
            continue
        in_commit: dict[str, Any] = {
            "created_revision": revision if found.created_revision is None else found.created_revision,
            "modified_revision": revision if found.modified_revision is None else found.modified_revision,
        }
        assert replace(found, **in_commit) == after, (path, writes)


@settings(max_examples=50, deadline=None)
@given(st.lists(WRITES, max_size=12), st.lists(WRITES, min_size=1, max_size=8))
def test_it_knows_all_where_there_are_no_containers_and_sequences(
    first: list[WriteOp], writes: list[WriteOp]
) -> None:
    plain = [op for op in (*first, *writes) if not isinstance(op, Create) or simple(op)]
    model = Model()
    model.open()
    for path in PATHS:
        assert known(model, path, plain) is not None


def simple(op: Create) -> bool:
    return op.kind is not Kind.CONTAINER and not op.sequential


CONTAINER = Seen("/q", b"", 0, Kind.CONTAINER, 0, 1, 1)


def test_what_cannot_be_known_is_said() -> None:
    with pytest.raises(InvalidRequest, match="container"):
        znode_after(CONTAINER, "/q", [Delete("/q/a")], SESSION)
    with pytest.raises(InvalidRequest, match="sequential"):
        znode_after(None, "/q/n-0000000007", [Create("/q/n-", sequential=True)], SESSION)
    assert znode_after(None, "/q/n-7", [Create("/q/n-", sequential=True)], SESSION) is None
    with pytest.raises(InvalidRequest, match="sequential"):
        names_after(["a"], "/q", [Create("/q/n-", sequential=True)])
    assert names_after(["a"], "/", [Create("/q/n-", sequential=True)]) == ["a"]


def test_what_is_in_doubt() -> None:
    assert in_doubt("/a", [Set("/a/b", b""), Delete("/x/y")]) == []
    assert in_doubt("/a", [Delete("/a/b")]) == ["/a"]
    assert in_doubt("/", [Delete("/a/b/c"), Delete("/a/x"), Delete("/z")]) == ["/", "/a"]
