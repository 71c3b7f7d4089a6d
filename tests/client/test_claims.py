"""The claims of one session, as the client knows them: told by a watch, listed after a gap, and given back when nobody
wants them any more."""

from collections.abc import Callable

import pytest

from coord.api.errors import Conflict, CoordError, Gap, NotHeld, SessionEnded, SessionRequired
from coord.api.events import CLAIMED, QUEUED, RELEASED, WITHDRAWN, Reason
from coord.api.ops import RELEASE, Claim, ClaimFirst
from coord.client.core.claims import Asked, OwnClaims
from coord.client.core.request import NEVER, Request
from coord.wire.client_frames import ClientFrame, EventGroup, Reads, Watch, Writes
from tests.client.script import SESSION, Script, ok, refused

PATH = "/locks/a"


class Rung:
    """A bell that counts."""

    def __init__(self) -> None:
        self.times = 0

    def set(self) -> None:
        self.times += 1


def told(
    revision: int, kind: int, number: int, path: str = PATH, reason: Reason = Reason.REQUEST
) -> EventGroup:
    """A change of a claim, for the watch of the latest number."""
    return EventGroup(revision, 1, [((kind, path, None, 0, SESSION, number, int(reason)), [Played.watch])])


class Played(Script):
    """A script whose driver does as the link does: news first, then answers."""

    watch = 0

    def __init__(self) -> None:
        super().__init__()
        self.claims = OwnClaims(self.core)

    def settle(self) -> None:
        for watching in self.core.take_woken():
            watching.context.set()
        for request in self.core.take_completed():
            self.done(request)

    def done(self, request: Request) -> None:
        if request.context is not None:
            request.context.set()

    def sent(self) -> list[ClientFrame]:
        frames = super().sent()
        for frame in frames:
            if isinstance(frame, Watch):
                Played.watch = frame.watch
        return frames

    def tell(self, *groups: EventGroup) -> None:
        self.events(*groups)
        self.settle()

    def answer(self, *rows: tuple[object, ...]) -> None:
        for request in self.replies(*rows):
            self.done(request)
        self.settle()

    def begin(self, revision: int = 10) -> None:
        """Connected, and the watch is open."""
        self.connect()
        bell = Rung()
        assert not self.claims.begin(bell)
        (frame,) = self.sent()
        assert isinstance(frame, Watch)
        assert (frame.path, frame.scope, frame.from_revision) == ("/", 4, None)
        self.answer(ok(frame.request, revision))
        assert bell.times == 1
        assert self.claims.begin(bell)

    def ask(self, caller: Rung, wait: bool = True) -> tuple[Asked, int]:
        """A claim that was sent, and its request's id."""
        asked = self.claims.ask(Claim(PATH, wait).row(), caller)
        (frame,) = self.sent()
        assert isinstance(frame, Writes)
        return asked, frame.requests[0][0]

    def releases(self) -> list[int]:
        """The numbers of claims that are given back now."""
        return [
            op[1]
            for frame in self.sent()
            if isinstance(frame, Writes)
            for _, op in frame.requests
            if op[0] == RELEASE
        ]


@pytest.fixture
def play() -> Played:
    return Played()


def test_granted_at_once(play: Played) -> None:
    play.begin()
    caller = Rung()
    _, request = play.ask(caller)
    play.tell(told(11, CLAIMED, 5))
    play.answer(ok(request, 11, (5, 11, 0, 1)))
    assert caller.times == 1
    claim = play.claims.known(5, PATH, 11, 11)
    assert (claim.number, claim.path, claim.token, claim.over) == (5, PATH, 11, None)


def test_waits_and_is_granted(play: Played) -> None:
    play.begin()
    _, request = play.ask(Rung())
    play.tell(told(11, QUEUED, 5))
    play.answer(ok(request, 11, (5, 0, 2, 1)))
    claim = play.claims.known(5, PATH, 0, 11)
    assert claim.token == 0
    bell = Rung()
    claim.bells[bell] = None
    play.tell(told(20, CLAIMED, 5))
    assert (claim.token, bell.times) == (20, 1)


def test_what_is_being_given_up_is_not_sure_any_more(play: Played) -> None:
    """From the asking on; unless it never left, or was refused."""
    play.begin()
    play.tell(told(11, CLAIMED, 5))
    claim = play.claims.known(5, PATH, 11, 11)

    def give_up(to: int = 0, deadline: float = NEVER) -> Request:
        request = play.claims.release(5, to, None, deadline)
        claim.give_up_by(request)
        assert claim.given_up
        return request

    assert not claim.given_up
    give_up(deadline=play.now + 1)
    play.tick(2)  # not sent in time
    assert not claim.given_up
    play.claims.abandon(give_up())  # cancelled before it was sent
    assert not claim.given_up
    request = give_up(to=6)
    play.sent()
    play.answer(refused(request.id, Conflict("6 does not wait here")))
    assert not claim.given_up

    abandoned = give_up()
    play.sent()
    play.claims.abandon(abandoned)  # too late
    assert claim.given_up
    again = play.claims.release(5, 0, None, play.now + 1)
    claim.give_up_by(again)
    play.tick(2)
    assert again.error is not None
    assert again.error.outcome == "refused"
    assert claim.given_up  # by what was sent before
    play.tell(told(12, RELEASED, 5))
    play.answer(ok(abandoned.id, 12))
    assert claim.over is not None
    assert claim.given_up


def test_a_claim_of_any_child_is_granted_with_the_childs_path(play: Played) -> None:
    play.begin()
    play.tell(told(11, QUEUED, 5, "/q"))
    claim = play.claims.known(5, "/q", 0, 11)
    play.tell(told(12, CLAIMED, 5, "/q/n7"))
    assert (claim.path, claim.token) == ("/q/n7", 12)


def test_over_before_its_answer_came(play: Played) -> None:
    """1. Granted at once. 2. Forced away by an operator. 3. The answer of 1 arrives, after the events of both."""
    play.begin()
    _, request = play.ask(Rung())
    play.tell(told(11, CLAIMED, 5), told(12, RELEASED, 5, reason=Reason.FORCED))
    play.answer(ok(request, 11, (5, 11, 0, 1)))
    assert isinstance(play.claims.known(5, PATH, 11, 11).over, NotHeld)


@pytest.mark.parametrize(
    ("kind", "reason", "word"),
    [
        (RELEASED, Reason.FORCED, "another session"),
        (RELEASED, Reason.ZNODE_DELETED, "deleted"),
        (RELEASED, Reason.TRANSFERRED, "handed on"),
        (WITHDRAWN, Reason.ZNODE_DELETED, "deleted"),
    ],
)
def test_why_it_is_over(play: Played, kind: int, reason: Reason, word: str) -> None:
    play.begin()
    play.tell(told(11, CLAIMED if kind == RELEASED else QUEUED, 5))
    claim = play.claims.known(5, PATH, 0, 11)
    bell = Rung()
    claim.bells[bell] = None
    play.tell(told(12, kind, 5, reason=reason))
    assert word in str(claim.over)
    assert bell.times == 1
    assert len(play.claims) == 0


def test_a_caller_who_left_before_the_answer_has_it_given_back(play: Played) -> None:
    play.begin()
    caller = Rung()
    asked, request = play.ask(caller)
    asked.forsake()
    assert play.releases() == []  # its number is not known yet
    play.tell(told(11, QUEUED, 5))
    play.answer(ok(request, 11, (5, 0, 1, 1)))
    assert caller.times == 0
    assert play.releases() == [5]


def test_a_caller_who_left_as_the_answer_came(play: Played) -> None:
    """1. The answer sets the caller's event. 2. Before the caller runs it is cancelled."""
    play.begin()
    asked, request = play.ask(Rung())
    play.tell(told(11, CLAIMED, 5))
    play.answer(ok(request, 11, (5, 11, 0, 1)))
    asked.forsake()
    assert play.releases() == [5]


def test_a_refused_claim_leaves_nothing_to_give_back(play: Played) -> None:
    play.begin()
    asked, request = play.ask(Rung())
    asked.forsake()
    play.answer(refused(request, NotHeld("no")))
    assert play.releases() == []


def test_all_children_of_a_forsaken_claim_are_given_back(play: Played) -> None:
    play.begin()
    asked = play.claims.ask(ClaimFirst("/q", 3, True).row(), Rung())
    (frame,) = play.sent()
    assert isinstance(frame, Writes)
    asked.forsake()
    play.tell(*[told(11, CLAIMED, number, f"/q/{number}") for number in (5, 6)])
    play.answer(ok(frame.requests[0][0], 11, (0, [(5, "5", None), (6, "6", None)], 1)))
    assert play.releases() == [5, 6]


def test_the_end_of_the_session_is_the_end_of_its_claims(play: Played) -> None:
    play.begin()
    play.tell(told(11, CLAIMED, 5))
    claim = play.claims.known(5, PATH, 11, 11)
    asked, _ = play.ask(Rung())
    play.tick(9.0)
    play.settle()
    assert isinstance(claim.over, SessionEnded)
    asked.forsake()  # as its caller does when it is told
    with pytest.raises(SessionEnded):
        play.claims.begin(Rung())


def test_without_a_session() -> None:
    script = Script(session=False)
    script.connect()
    claims = OwnClaims(script.core)
    bell = Rung()
    assert not claims.begin(bell)
    (frame,) = script.sent()
    assert isinstance(frame, Watch)
    for request in script.replies(refused(frame.request, SessionRequired("none"))):
        request.context.set()
    assert bell.times == 1
    with pytest.raises(SessionRequired):
        claims.begin(bell)


# --- a gap -----------------------------------------------------------------------------------------------------------


LOST = 3


def listed(number: int, token: int, path: str = PATH) -> tuple[object, ...]:
    return (number, path, SESSION, "c", token, 1, False, b"", 0, 0, LOST, "what a later member might add")


def gap(play: Played) -> Callable[[int, list[tuple[object, ...]], bool], None]:
    """The history has gone on without us; returns what answers the next page."""
    play.watch_ended(Played.watch, Gap("gone"))
    play.settle()
    frames = play.sent()
    (watch,) = [each for each in frames if isinstance(each, Watch)]
    assert watch.from_revision is None
    assert not [each for each in frames if isinstance(each, Reads)], "it is listed once the watch is open"
    play.answer(ok(watch.request, 50))

    def page(revision: int, rows: list[tuple[object, ...]], more: bool) -> None:
        (reads,) = [each for each in play.sent() if isinstance(each, Reads)]
        play.answer(ok(reads.requests[0][0], revision, (rows, more, 1)))

    return page


def test_one_that_goes_with_its_session_says_so(play: Played) -> None:
    """Who waited for it has to connect again; to ask again would not help."""
    play.begin()
    play.tell(told(11, CLAIMED, 5), told(11, QUEUED, 6), told(11, QUEUED, 7))
    held, waiting, forced = [play.claims.known(number, PATH, 0, 11) for number in (5, 6, 7)]
    play.tell(told(12, RELEASED, 7, reason=Reason.FORCED))
    play.tell(*(told(13, RELEASED, number, reason=Reason.SESSION_EXPIRED) for number in (5, 6)))
    assert isinstance(forced.over, NotHeld)
    for claim in (held, waiting):
        assert isinstance(claim.over, SessionEnded)
        assert claim.over.outcome == "refused"


def test_a_gap_is_bridged_by_a_listing(play: Played) -> None:
    play.begin()
    play.tell(told(11, CLAIMED, 5), told(12, QUEUED, 6), told(13, QUEUED, 7), told(14, CLAIMED, 8))
    held, granted, gone, late = [play.claims.known(number, PATH, 0, 14) for number in (5, 6, 7, 8)]
    page = gap(play)
    page(50, [listed(5, 11), listed(6, 30)], True)
    play.tell(told(51, RELEASED, 8, reason=Reason.FORCED))
    page(52, [listed(9, 52, "/other")], False)
    assert (held.token, held.over) == (11, None)
    assert (granted.token, granted.lost, granted.over) == (30, LOST, None)
    assert isinstance(gone.over, NotHeld)
    assert isinstance(late.over, NotHeld)
    assert len(play.claims) == 3


def test_what_is_told_while_it_is_listed_is_later_than_the_page(play: Played) -> None:
    play.begin()
    play.tell(told(11, QUEUED, 5), told(12, QUEUED, 6))
    first, second = (play.claims.known(number, PATH, 0, 12) for number in (5, 6))
    page = gap(play)
    play.tell(told(60, CLAIMED, 5), told(61, CLAIMED, 7))
    page(55, [listed(5, 0), listed(6, 0)], False)
    assert (first.token, second.token) == (60, 0)
    assert play.claims.known(7, PATH, 61, 61).over is None


def test_a_claim_that_is_answered_in_the_gap_is_as_the_listing_says(play: Played) -> None:
    """Its events were in the history that is gone."""
    play.begin()
    _, one = play.ask(Rung())
    _, two = play.ask(Rung())
    play.watch_ended(Played.watch, Gap("gone"))
    play.settle()
    (watch,) = [each for each in play.sent() if isinstance(each, Watch)]
    play.answer(ok(one, 40, (5, 0, 1, 1)), ok(two, 41, (6, 41, 0, 1)))
    waiting, over = play.claims.known(5, PATH, 0, 40), play.claims.known(6, PATH, 41, 41)
    play.answer(ok(watch.request, 50))
    (reads,) = [each for each in play.sent() if isinstance(each, Reads)]
    play.answer(ok(reads.requests[0][0], 50, ([listed(5, 45)], False, 1)))
    assert (waiting.token, waiting.over) == (45, None)
    assert isinstance(over.over, NotHeld)


def test_a_gap_in_the_gap(play: Played) -> None:
    """What the first listing says, when it comes, is of no interest any more."""
    play.begin()
    play.tell(told(11, CLAIMED, 5))
    claim = play.claims.known(5, PATH, 11, 11)
    gap(play)
    (stale,) = [each for each in play.sent() if isinstance(each, Reads)]
    gap(play)
    (fresh,) = [each for each in play.sent() if isinstance(each, Reads)]
    play.answer(ok(stale.requests[0][0], 51, ([], False, 1)))
    assert claim.over is None
    play.answer(ok(fresh.requests[0][0], 60, ([listed(5, 11)], False, 1)))
    assert claim.over is None


def test_a_listing_that_is_refused_ends_what_is_not_sure(play: Played) -> None:
    play.begin()
    play.tell(told(11, CLAIMED, 5))
    claim = play.claims.known(5, PATH, 11, 11)
    play.watch_ended(Played.watch, Gap("gone"))
    play.settle()
    (watch,) = [each for each in play.sent() if isinstance(each, Watch)]
    play.answer(ok(watch.request, 50))
    (reads,) = [each for each in play.sent() if isinstance(each, Reads)]
    play.answer(refused(reads.requests[0][0], CoordError("no")))
    assert claim.over is not None
