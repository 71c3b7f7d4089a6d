"""Each op, each of its refusals, each condition."""

import pytest

from coord.api.errors import Conflict, LimitExceeded, NotAllowed, NotEmpty, NotFound
from coord.api.errors import Exists as ExistsError
from coord.api.events import CHANGED, CREATED, DELETED, Reason
from coord.api.ops import Compare, Create, Delete, Exists, Get, Kind, List, Multi, Operator, Set, Target
from coord.api.results import Stat
from tests.store.machine import Machine, picture

CONFLICTS = [{"version": 7}, {"revision": 99}, {"version": 7, "revision": 1}, {"version": 0, "revision": 99}]


def stat(machine: Machine, path: str) -> Stat:
    return Stat.from_row(machine.read(Exists(path)))


@pytest.fixture
def machine() -> Machine:
    return Machine()


# --- create ----------------------------------------------------------------------------------------------------------


def test_create(machine: Machine) -> None:
    assert machine.do(Create("/a", b"x")) == "/a"
    value, row = machine.read(Get("/a"))
    assert value == b"x"
    assert Stat.from_row(row) == Stat(
        1, 1, 1, 0, 0, 0, machine.wall_ms, machine.wall_ms, 1, 0, Kind.PERSISTENT, 0
    )
    assert machine.changes()[0][3] == ((CREATED, "/a", b"x", 0, machine.session, 1, Reason.REQUEST),)
    root = stat(machine, "/")
    assert (root.children_revision, root.children_version, root.child_count, root.version) == (1, 1, 1, 0)


def test_create_what_is_there(machine: Machine) -> None:
    machine.do(Create("/a"))
    assert isinstance(machine.refused(Create("/a")), ExistsError)
    assert isinstance(machine.refused(Create("/")), ExistsError)


def test_create_without_a_parent(machine: Machine) -> None:
    error = machine.refused(Create("/a/b/c"))
    assert isinstance(error, NotFound)
    assert "nearest above it is '/'" in error.message


def test_create_with_parents(machine: Machine) -> None:
    machine.do(Create("/a/b/c", b"x", kind=Kind.EPHEMERAL, parents=True))
    assert stat(machine, "/a").kind == stat(machine, "/a/b").kind == Kind.PERSISTENT
    assert stat(machine, "/a/b/c").owner == machine.session
    assert machine.store.revision == 1
    assert [change[1] for change in machine.changes()[0][3]] == ["/a", "/a/b", "/a/b/c"]


def test_nothing_below_an_ephemeral(machine: Machine) -> None:
    machine.do(Create("/e", kind=Kind.EPHEMERAL))
    assert isinstance(machine.refused(Create("/e/x")), NotAllowed)
    assert isinstance(machine.refused(Create("/e/x/y", parents=True)), NotAllowed)
    assert isinstance(machine.refused(Create("/e/x-", sequential=True)), NotAllowed)
    assert isinstance(machine.refused(Set("/e/x", b"", create=True)), NotAllowed)


@pytest.mark.parametrize("path", ["/coord", "/coord/x", "/coord/x/y"])
def test_the_reserved_subtree(machine: Machine, path: str) -> None:
    assert isinstance(machine.refused(Create(path, parents=True)), NotAllowed)
    assert isinstance(machine.refused(Create(path, parents=True, sequential=True)), NotAllowed)
    # Not that a parent is missing, either: with it, it would be refused all the same.
    told = machine.refused(Create(path))
    assert isinstance(told, NotAllowed)
    assert "only the service writes /coord and what is below it" in told.message
    assert isinstance(machine.refused(Set(path, b"", create=True, parents=True)), NotAllowed)
    assert isinstance(machine.refused(Set(path, b"")), NotFound)
    assert isinstance(machine.refused(Delete(path)), NotFound)


def test_its_namesakes_are_not_reserved(machine: Machine) -> None:
    machine.do(Create("/coordinates"))
    machine.do(Create("/a/coord", parents=True))


# --- sequential ------------------------------------------------------------------------------------------------------


def test_sequence_numbers_are_the_parents(machine: Machine) -> None:
    machine.do(Create("/q"))
    names = [machine.do(Create(f"/q/{prefix}", sequential=True)) for prefix in ("a-", "b-", "a-", "")]
    assert names == ["/q/a-0000000000", "/q/b-0000000001", "/q/a-0000000002", "/q/0000000003"]
    assert machine.do(Create("/r/n", sequential=True, parents=True)) == "/r/n0000000000"
    assert machine.do(Create("/", sequential=True)) == "/0000000000"


def test_sequence_numbers_are_not_used_again(machine: Machine) -> None:
    """Not even when the last child, or all, are gone: a count of children would repeat itself."""
    machine.do(Create("/q"))
    for _ in range(3):
        machine.do(Create("/q/n", sequential=True))
    machine.do(Delete("/q/n0000000002"))
    assert machine.do(Create("/q/n", sequential=True)) == "/q/n0000000003"
    for number in (0, 1, 3):
        machine.do(Delete(f"/q/n000000000{number}"))
    assert machine.do(Create("/q/n", sequential=True)) == "/q/n0000000004"
    machine.do(Create("/q/other"))
    assert machine.do(Create("/q/n", sequential=True)) == "/q/n0000000005"


def test_a_name_made_by_hand_is_passed_over(machine: Machine) -> None:
    machine.do(Create("/q"))
    machine.do(Create("/q/n0000000000"))
    machine.do(Create("/q/n0000000001"))
    assert machine.do(Create("/q/n", sequential=True)) == "/q/n0000000002"
    machine.do(Delete("/q/n0000000000"))
    assert machine.do(Create("/q/n", sequential=True)) == "/q/n0000000003"


def test_sequence_numbers_go_on_past_ten_digits(machine: Machine) -> None:
    machine.do(Create("/q"))
    tree = machine.store.tree
    before = tree.znodes["/q"]
    tree.replace("/q", before, (*before[:12], 9_999_999_999))
    assert machine.do(Create("/q/n", sequential=True)) == "/q/n9999999999"
    assert machine.do(Create("/q/n", sequential=True)) == "/q/n10000000000"
    assert machine.do(Create("/q/n", sequential=True)) == "/q/n10000000001"


def test_a_sequential_create_that_is_refused_takes_no_number(machine: Machine) -> None:
    machine.do(Create("/q"))
    machine.refused(Multi(then=(Create("/q/n", sequential=True), Delete("/nope"))))
    assert machine.do(Create("/q/n", sequential=True)) == "/q/n0000000000"


# --- set -------------------------------------------------------------------------------------------------------------


def test_set(machine: Machine) -> None:
    machine.do(Create("/a", b"x"))
    machine.wall_ms += 5
    assert machine.do(Set("/a", b"yy")) == 1
    assert machine.do(Set("/a", b"yy")) == 2  # the same value is a change all the same
    found = stat(machine, "/a")
    assert (found.created_revision, found.modified_revision, found.version) == (1, 3, 2)
    assert (found.created_ms, found.modified_ms) == (machine.wall_ms - 5, machine.wall_ms)
    assert machine.changes()[-1][3] == ((CHANGED, "/a", b"yy", 2, machine.session, 3, Reason.REQUEST),)


def test_set_of_the_root(machine: Machine) -> None:
    assert machine.do(Set("/", b"r")) == 1
    assert machine.read(Get("/"))[0] == b"r"


def test_set_what_is_not_there(machine: Machine) -> None:
    assert isinstance(machine.refused(Set("/a", b"")), NotFound)
    assert isinstance(machine.refused(Set("/a", b"", version=0)), NotFound)


def test_set_creates(machine: Machine) -> None:
    assert machine.do(Set("/a", b"x", create=True)) == 0
    assert machine.do(Set("/a", b"y", create=True)) == 1
    assert isinstance(machine.refused(Set("/b/c", b"x", create=True)), NotFound)
    assert machine.do(Set("/b/c", b"x", create=True, parents=True)) == 0
    assert isinstance(machine.refused(Set("/d", b"x", create=True, version=0)), Conflict)
    assert isinstance(machine.refused(Set("/d", b"x", create=True, revision=0)), Conflict)


@pytest.mark.parametrize("condition", CONFLICTS)
def test_a_condition_that_does_not_hold(machine: Machine, condition: dict[str, int]) -> None:
    machine.do(Create("/a", b"x"))
    for op in (
        Set("/a", b"y", **condition),
        Delete("/a", **condition),
        Multi(then=(Get("/a", **condition),)),
    ):
        error = machine.refused(op)
        assert isinstance(error, Conflict)
        assert (error.details["version"], error.details["revision"]) == (0, 1)
    with pytest.raises(Conflict):
        machine.read(Get("/a", **condition))


def test_conditions_that_hold(machine: Machine) -> None:
    machine.do(Create("/a", b"x"))
    assert machine.read(Get("/a", version=0, revision=1))[0] == b"x"
    assert machine.do(Set("/a", b"y", version=0)) == 1
    assert machine.do(Set("/a", b"y", revision=2)) == 2
    assert machine.do(Set("/a", b"y", version=2, revision=3)) == 3
    assert machine.do(Delete("/a", version=3, revision=4)) == 1


# --- delete ----------------------------------------------------------------------------------------------------------


def test_delete(machine: Machine) -> None:
    machine.do(Create("/a", b"x"))
    machine.do(Set("/a", b"y"))
    assert machine.do(Delete("/a")) == 1
    assert machine.changes()[-1][3] == ((DELETED, "/a", None, 1, machine.session, 3, Reason.REQUEST),)
    assert isinstance(machine.refused(Delete("/a")), NotFound)
    assert machine.read(Exists("/a")) is None


def test_delete_with_children(machine: Machine) -> None:
    for path in ("/a", "/a/b", "/a/b/c", "/a/d", "/ab"):
        machine.do(Create(path))
    error = machine.refused(Delete("/a"))
    assert isinstance(error, NotEmpty)
    assert error.details == {"children": 2}
    assert machine.do(Delete("/a", subtree=True)) == 4
    assert machine.paths() == ["/", "/ab"]
    deleted = [change[1] for change in machine.changes()[-1][3]]
    assert sorted(deleted) == ["/a", "/a/b", "/a/b/c", "/a/d"]
    assert deleted.index("/a/b/c") < deleted.index("/a/b") < deleted.index("/a")  # children first


def test_the_root_stays(machine: Machine) -> None:
    assert isinstance(machine.refused(Delete("/")), NotAllowed)
    assert isinstance(machine.refused(Delete("/", subtree=True)), NotAllowed)


# --- containers ------------------------------------------------------------------------------------------------------


def test_a_container_goes_with_its_last_child(machine: Machine) -> None:
    machine.do(Create("/c", kind=Kind.CONTAINER))
    machine.do(Create("/c/d", kind=Kind.CONTAINER))
    machine.do(Create("/c/d/x"))
    machine.do(Create("/c/d/y"))
    machine.do(Delete("/c/d/x"))
    assert "/c/d" in machine.paths()
    assert machine.do(Delete("/c/d/y")) == 1  # what empties itself is not counted
    assert machine.paths() == ["/"]
    assert [(change[1], change[6]) for change in machine.changes()[-1][3]] == [
        ("/c/d/y", Reason.REQUEST),
        ("/c/d", Reason.EMPTY),
        ("/c", Reason.EMPTY),
    ]


def test_an_empty_container_stays_until_it_had_a_child(machine: Machine) -> None:
    machine.do(Create("/c", kind=Kind.CONTAINER))
    machine.pass_time(10**9)
    assert machine.paths() == ["/", "/c"]
    machine.do(Delete("/c"))
    assert machine.paths() == ["/"]


def test_a_subtree_with_containers(machine: Machine) -> None:
    machine.do(Create("/k", kind=Kind.CONTAINER))
    machine.do(Create("/k/c", kind=Kind.CONTAINER))
    machine.do(Create("/k/c/x"))
    machine.do(Create("/k/c/d", kind=Kind.CONTAINER))
    machine.do(Create("/k/c/d/y"))
    assert machine.do(Delete("/k/c", subtree=True)) == 4
    assert machine.paths() == ["/"]
    picture(machine.store)


def test_an_ephemeral_empties_its_container_in_the_same_revision(machine: Machine) -> None:
    other = machine.open()
    machine.do(Create("/c", kind=Kind.CONTAINER))
    machine.do(Create("/c/e", kind=Kind.EPHEMERAL), other)
    revision = machine.store.revision
    machine.expire(other)
    assert machine.store.revision == revision + 1
    assert machine.paths() == ["/"]
    assert [(change[1], change[6]) for change in machine.changes()[-1][3]] == [
        ("/c/e", Reason.SESSION_EXPIRED),
        ("/c", Reason.EMPTY),
    ]


# --- reads -----------------------------------------------------------------------------------------------------------


def test_get_and_exists(machine: Machine) -> None:
    with pytest.raises(NotFound):
        machine.read(Get("/a"))
    assert machine.read(Exists("/a")) is None
    machine.do(Create("/a", b"x"))
    value, row = machine.read(Get("/a"))
    assert (value, row) == (b"x", machine.read(Exists("/a")))


def test_list_is_paged_in_order(machine: Machine) -> None:
    with pytest.raises(NotFound):
        machine.read(List("/q"))
    machine.do(Create("/q"))
    assert machine.read(List("/q")) == ([], False)
    for each in ("b", "a", "d", "c", "e"):
        machine.do(Create(f"/q/{each}", each.encode()))
    seen, after, pages = [], None, 0
    while True:
        page, more = machine.read(List("/q", limit=2, after=after))
        seen += [row[0] for row in page]
        pages += 1
        if not more:
            break
        after = page[-1][0]
    assert (seen, pages) == (["a", "b", "c", "d", "e"], 3)
    assert machine.read(List("/q", limit=5))[1] is False
    assert machine.read(List("/q", after="bb"))[0][0][0] == "c"
    assert machine.read(List("/q", after="e")) == ([], False)


def test_list_with_values_and_stats(machine: Machine) -> None:
    machine.do(Create("/a", b"x"))
    machine.do(Create("/a/b"))
    assert machine.read(List("/"))[0] == [("a", None, None)]
    assert machine.read(List("/", values=True))[0] == [("a", b"x", None)]
    assert machine.read(List("/", stats=True))[0] == [("a", None, machine.read(Exists("/a")))]


def test_a_page_ends_at_its_bytes(machine: Machine) -> None:
    for number in range(5):
        machine.do(Create(f"/n{number}", b"x" * 100))
    rows, more = machine.store.read(
        List("/", values=True).row(), type(machine.member_limits)(list_page_bytes=250)
    )
    assert ([row[0] for row in rows], more) == (["n0", "n1"], True)
    rows, more = machine.store.read(
        List("/", values=True).row(), type(machine.member_limits)(list_page_bytes=1)
    )
    assert ([row[0] for row in rows], more) == (["n0"], True)  # one always, or it would never end
    rows, more = machine.store.read(List("/").row(), type(machine.member_limits)(list_page_bytes=1))
    assert (len(rows), more) == (5, False)  # without values it is the number that counts


# --- multi -----------------------------------------------------------------------------------------------------------

COMPARISONS = [
    (Compare(Target.VALUE, "/a", Operator.EQUAL, b"m"), True),
    (Compare(Target.VALUE, "/a", Operator.EQUAL, b"n"), False),
    (Compare(Target.VALUE, "/a", Operator.NOT_EQUAL, b"n"), True),
    (Compare(Target.VALUE, "/a", Operator.LESS, b"n"), True),
    (Compare(Target.VALUE, "/a", Operator.LESS, b"m"), False),
    (Compare(Target.VALUE, "/a", Operator.LESS_OR_EQUAL, b"m"), True),
    (Compare(Target.VALUE, "/a", Operator.GREATER, b"l"), True),
    (Compare(Target.VALUE, "/a", Operator.GREATER, b"m"), False),
    (Compare(Target.VALUE, "/a", Operator.GREATER_OR_EQUAL, b"m"), True),
    (Compare(Target.VALUE, "/a", Operator.GREATER_OR_EQUAL, b"n"), False),
    (Compare(Target.VERSION, "/a", Operator.EQUAL, 1), True),
    (Compare(Target.VERSION, "/a", Operator.EQUAL, 0), False),
    (Compare(Target.CREATED_REVISION, "/a", Operator.EQUAL, 1), True),
    (Compare(Target.CREATED_REVISION, "/a", Operator.LESS, 1), False),
    (Compare(Target.MODIFIED_REVISION, "/a", Operator.EQUAL, 2), True),
    (Compare(Target.MODIFIED_REVISION, "/a", Operator.GREATER, 2), False),
    (Compare(Target.EXISTS, "/a", Operator.EQUAL, True), True),
    (Compare(Target.EXISTS, "/a", Operator.EQUAL, False), False),
    (Compare(Target.EXISTS, "/a", Operator.NOT_EQUAL, False), True),
    (Compare(Target.EXISTS, "/x", Operator.EQUAL, False), True),
    (Compare(Target.EXISTS, "/x", Operator.NOT_EQUAL, False), False),
    (Compare(Target.CHILD_COUNT, "/a", Operator.EQUAL, 1), True),
    (Compare(Target.CHILD_COUNT, "/a", Operator.LESS, 1), False),
    (Compare(Target.CHILD_COUNT, "/a/b", Operator.EQUAL, 0), True),
    (Compare(Target.CHILDREN_REVISION, "/a", Operator.EQUAL, 3), True),
    (Compare(Target.CHILDREN_REVISION, "/a", Operator.LESS_OR_EQUAL, 2), False),
    (Compare(Target.CHILDREN_REVISION, "/a/b", Operator.EQUAL, 3), True),  # its own create, before any child
    # Of a znode that is not there nothing else holds, not even "not equal".
    (Compare(Target.VALUE, "/x", Operator.NOT_EQUAL, b""), False),
    (Compare(Target.VERSION, "/x", Operator.EQUAL, 0), False),
    (Compare(Target.CHILD_COUNT, "/x", Operator.EQUAL, 0), False),
    (Compare(Target.CHILDREN_REVISION, "/x", Operator.LESS_OR_EQUAL, 9), False),
    (Compare(Target.CREATED_REVISION, "/x", Operator.GREATER_OR_EQUAL, 0), False),
]


@pytest.mark.parametrize(("compare", "holds"), COMPARISONS)
def test_comparisons(machine: Machine, compare: Compare, holds: bool) -> None:
    machine.do(Create("/a", b"x"))
    machine.do(Set("/a", b"m"))
    machine.do(Create("/a/b"))
    succeeded, results = machine.do(Multi((compare,), (Exists("/"),), ()))
    assert succeeded is holds
    assert len(results) == holds


def test_a_listing_is_still_so_if_the_childrens_revision_is(machine: Machine) -> None:
    """What a transaction asks: have children come or gone since revision 2?"""

    def unchanged() -> bool:
        compare = Compare(Target.CHILDREN_REVISION, "/a", Operator.LESS_OR_EQUAL, 2)
        return bool(machine.do(Multi((compare,)))[0])

    machine.do(Create("/a"))
    machine.do(Create("/a/b"))
    assert unchanged()
    machine.do(Set("/a", b"x"))  # no child's coming or going
    machine.do(Set("/a/b", b"x"))
    machine.do(Create("/a/b/c"))  # a grandchild's neither
    assert unchanged()
    machine.do(
        Multi(then=(Delete("/a", subtree=True), Create("/a"), Create("/a/b")))
    )  # it only looks the same
    assert not unchanged()


def test_multi_takes_a_branch(machine: Machine) -> None:
    guard = (
        Compare(Target.EXISTS, "/a", Operator.EQUAL, False),
        Compare(Target.EXISTS, "/", Operator.EQUAL, True),
    )
    op = Multi(guard, (Create("/a", b"1"),), (Set("/a", b"2"), Get("/a")))
    assert machine.do(op) == (True, ["/a"])
    succeeded, results = machine.do(op)
    assert succeeded is False
    assert results[0] == 1
    assert results[1][0] == b"2"


def test_a_multi_is_one_revision(machine: Machine) -> None:
    reply = machine.reply(Multi(then=(Create("/a"), Create("/a/b"), Set("/a", b"x"), Delete("/a/b"))))
    assert (reply[2], machine.store.revision) == (1, 1)
    assert [change[1] for change in machine.changes()[0][3]] == ["/a", "/a/b", "/a", "/a/b"]
    assert stat(machine, "/a").created_revision == stat(machine, "/a").modified_revision == 1


def test_reads_in_a_multi_see_what_it_did(machine: Machine) -> None:
    _, results = machine.do(
        Multi(
            then=(
                Create("/a", b"1"),
                Get("/a"),
                Set("/a", b"2"),
                Get("/a"),
                Exists("/a/x"),
                Create("/a/b"),
                List("/a"),
            )
        )
    )
    assert results[1][0] == b"1"
    assert results[3][0] == b"2"
    assert results[3][1][1] == 1  # the revision that is being made
    assert results[4] is None
    assert results[6] == ([("b", None, None)], False)


def test_a_multi_that_only_reads_makes_no_revision(machine: Machine) -> None:
    machine.do(Create("/a", b"x"))
    assert machine.reply(Multi(then=(Get("/a"),)))[2] == 1
    assert machine.reply(Multi())[4] == (True, [])
    assert machine.store.revision == 1


def test_a_refused_op_undoes_the_branch(machine: Machine) -> None:
    other = machine.open()
    machine.do(Create("/t", kind=Kind.TTL, ttl_ms=1000))
    machine.do(Create("/c", kind=Kind.CONTAINER))
    machine.do(Create("/c/x", b"deep"))
    machine.do(Create("/e1", kind=Kind.EPHEMERAL))
    machine.do(Create("/e2", b"v", kind=Kind.EPHEMERAL), other)
    machine.do(Create("/s/a/b", b"sub", parents=True))
    machine.do(Create("/q/n", sequential=True, parents=True))
    branch = (
        Create("/new", b"value"),
        Create("/e3", kind=Kind.EPHEMERAL),
        Delete("/e1"),
        Delete("/e2"),
        Create("/e1", b"again"),
        Delete("/c/x"),  # and the container
        Create("/c"),
        Delete("/t"),
        Create("/t2", kind=Kind.TTL, ttl_ms=50),
        Delete("/s", subtree=True),
        Create("/s", b"other"),
        Create("/q/n", sequential=True),
        Set("/q", b"longer than before"),
        Set("/q", b""),
    )
    for failing in (Delete("/nope"), Create("/q"), Set("/q", b"", version=9), Get("/nope"), List("/nope")):
        error = machine.refused(Multi(then=(*branch, failing)))  # refused() compares everything
        assert error.details["position"] == len(branch)
    machine.do(Multi(then=branch))
    assert "/c" in machine.paths()
    assert "/s/a/b" not in machine.paths()
    picture(machine.store)


def test_after_an_undo_ephemerals_still_go_with_their_session(machine: Machine) -> None:
    """The undo must restore the table of owners as well: else the ephemeral would outlive its session."""
    other = machine.open()
    machine.do(Create("/e", kind=Kind.EPHEMERAL), other)
    machine.refused(Multi(then=(Delete("/e"), Delete("/nope"))))
    machine.refused(Multi(then=(Create("/f", kind=Kind.EPHEMERAL), Delete("/nope"))), other)
    machine.expire(other)
    assert machine.paths() == ["/"]


def test_after_an_undo_ttl_znodes_still_fall_due(machine: Machine) -> None:
    machine.do(Create("/t", kind=Kind.TTL, ttl_ms=100))
    machine.refused(Multi(then=(Delete("/t"), Create("/u", kind=Kind.TTL, ttl_ms=1), Delete("/nope"))))
    machine.pass_time(100)
    assert machine.paths() == ["/"]


def test_a_multi_of_a_thousand_ops(machine: Machine) -> None:
    _, results = machine.do(Multi(then=tuple(Create(f"/n{number}") for number in range(1024))))
    assert len(results) == 1024
    assert machine.store.revision == 1


def test_a_multi_reads_only_so_much(machine: Machine) -> None:
    machine.do(Create("/a", b"x" * 600_000))
    machine.do(Multi(then=(Get("/a"),)))
    error = machine.refused(Multi(then=(Create("/b"), Get("/a"), Get("/a"))))
    assert isinstance(error, LimitExceeded)
    assert error.details["limit"] == "multi_reply_bytes"
    assert error.details["position"] == 2


def test_names_and_stats_that_a_multi_lists_count_too(machine: Machine) -> None:
    """Its reply is kept on every replica: a list of many long names is as heavy as values are."""
    for number in range(200):
        machine.do(Create(f"/{number:0900d}"))
    error = machine.refused(Multi(then=(List("/"),) * 8))
    assert isinstance(error, LimitExceeded)
    assert error.details["limit"] == "multi_reply_bytes"
