"""The claims of a driver: what its process sees, and what the history says of it."""

from typing import Any

from coord.api.ops import Claim, ClaimFirst, Create, Multi, Release
from coord.client.core.settings import CoreSettings
from coord.jepsen_like.checkers import judge
from coord.jepsen_like.history import ClaimHeld, ClaimOver, Operation, WatchOpened, WatchTold
from coord.jepsen_like.workloads.settings import DriverSettings
from coord.jepsen_like.workloads.workload import AwaitGrant, EndSession, MoveAway, Pause, Script, Step
from tests.jepsen_like.workloads.world import World

SHORT = DriverSettings(deadline_ms=1_000, core=CoreSettings(session_timeout_ms=1_500))


def number_of(operation: Operation) -> int:
    return int(operation.result.number)  # type: ignore[union-attr]


def test_a_claim_is_waited_for_granted_and_released_and_all_of_it_is_recorded() -> None:
    world = World()
    seen: list[Any] = []

    def first() -> Script:
        done = yield Claim("/l", label=b"1", create=True)
        world.facts["held"] = True
        yield Pause(200)
        yield Release(number_of(done))

    def second() -> Script:
        while "held" not in world.facts:
            yield Pause(10)
        done = yield Claim("/l", wait=True, label=b"2")
        seen.append((yield AwaitGrant(number_of(done), 20)).token)  # still waits
        yield MoveAway()
        claim = yield AwaitGrant(number_of(done), 5_000)
        seen.append(claim.token)
        yield Release(number_of(done))
        seen.append((yield AwaitGrant(number_of(done), 5_000)))

    one, other = world.start(world.process(1), first()), world.start(world.process(2), second())
    world.run(one, other)
    waiting, token, gone = seen
    assert (waiting, gone) == (0, None)
    held = world.of(ClaimHeld)
    assert [(each.process, each.path, each.claim) for each in held] == [(1, "/l", 1), (2, "/l", 2)]
    assert held[1].token == token > held[0].token
    assert [(each.process, each.by) for each in world.of(ClaimOver)] == [(1, "request"), (2, "request")]
    assert world.of(ClaimOver)[0].at_ns < held[1].at_ns
    assert {each.scope for each in world.of(WatchOpened)} == {"claims"}
    told = [change for each in world.of(WatchTold, 2) for change in each.changes]
    assert [(change[0], change[5]) for change in told] == [(6, 2), (4, 2), (5, 2)], "its own, with its number"
    assert judge(world.whole_history()) == []


def test_a_claim_whose_deadline_passes_is_unknown_and_given_back() -> None:
    world = World()

    def script() -> Script:
        yield Create("/l")
        yield Claim("/first", label=b"0", create=True)
        world.deaf[1] = None
        done = yield Claim("/l", label=b"1")
        assert (done.outcome, done.error) == ("unknown", "deadline_exceeded")
        world.deaf.clear()
        yield Pause(1_000)

    world.run(world.start(world.process(1), script(), SHORT))
    store = next(iter(world.cluster.members.values())).replica.state.store  # type: ignore[union-attr]
    assert [each[1] for each in store.claims.by_number.values()] == ["/first"]
    assert [each.path for each in world.of(ClaimHeld)] == ["/first"]
    assert judge(world.whole_history()) == []


def test_several_at_once_and_the_first_children() -> None:
    world = World()

    def script() -> Script:
        yield Create("/j")
        yield Create("/j/1")
        yield Create("/j/2")
        yield Multi((), (Claim("/a", label=b"a", create=True), Claim("/b", label=b"b", create=True)))
        yield ClaimFirst("/j", 5, label=b"j")
        yield EndSession()

    world.run(world.start(world.process(1), script()))
    assert [each.path for each in world.of(ClaimHeld)] == ["/a", "/b", "/j/1", "/j/2"]
    assert {each.by for each in world.of(ClaimOver)} == {"request"}
    assert judge(world.whole_history()) == []


def test_who_has_no_session_claims_nothing() -> None:
    world = World()

    def script() -> Script:
        step: Step = Claim("/l", label=b"1")
        done = yield step
        assert (done.outcome, done.error) == ("refused", "session_required")

    world.run(world.start(world.process(1, has_session=False), script()))
