"""What a guard has to do, as checks that your own guard can be run through.

A guard under test is whatever has :class:`Guarded`'s two methods: write a value under a name with a token,
and read it back. ``make_guard()`` gives a new one on the *same* resource each time, as another process would
make it::

    def make_guard():                       # at the top of a module: other processes import it
        return MyGuard("postgresql:///test")

    check_guard(make_guard)                 # raises BrokenGuard, with the story of each promise that is broken

or, with a test for each promise::

    @pytest.mark.parametrize("check", CHECKS)
    def test_my_guard(check):
        check(make_guard)

*What it guarantees.* A guard that passes refuses every lower token in the checks' runs, and a check-then-act
guard whose gap lies between two lines of its own Python does not pass: a holder is stopped at each of them,
while its successor writes.

*What it does not.* Passing is no proof. Gaps inside of one line, of C code, or of a remote service are only
met by chance, by storms of threads and processes. Nothing here cuts the power.

*What to do about that.* Run it often, with more ``rounds``. And look at your guard for the one thing that
counts: that the check and the write are one step of the resource itself.
"""

import random
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from coord.client import Token
from coord.recipes.fencing.storms import Child, storm_of_writes, storm_tokens, watch_storm
from coord.recipes.fencing.trial import (
    DEFAULT,
    BrokenGuard,
    Effort,
    Guarded,
    MakeGuard,
    Stop,
    ended,
    hand,
    new_name,
)


def check_guard(make_guard: MakeGuard, *, processes: bool = True, effort: Effort = DEFAULT) -> None:
    """Run all checks, and raise one :class:`BrokenGuard` for all that failed.

    ``processes=False`` leaves those out that need the resource to be reachable from other processes, and to
    outlive this one: for guards in memory. Takes some seconds, and for a guard that is broken perhaps minutes.
    The names that it writes to are new ones, and stay behind. In a script, call it below ``if __name__ ==
    "__main__"``: other processes import the script.
    """
    stories = []
    for check in CHECKS if processes else THREAD_CHECKS:
        try:
            check(make_guard, effort)
        except BrokenGuard as broken:
            stories.append(f"{check.__name__}: {broken}")
    if stories:
        raise BrokenGuard("\n".join(stories))


# --- the rules, one writer at a time -----------------------------------------------------------------------


def greater_tokens_are_let_in(make_guard: MakeGuard, effort: Effort = DEFAULT) -> None:
    """Any greater token, whoever comes first, in leaps, and across a restore. An equality test fails here."""
    with hand(make_guard, effort) as one:
        name = new_name()
        for token in (
            Token(1, 9),
            Token(1, 10),
            Token(1, 4711),
            Token(2, 3),
            Token(10, 1),
            Token(10, 2**63 - 1),
        ):
            one.must_write(name, token, f"by {token}".encode())
            one.must_hold(name, f"by {token}".encode())


def lower_tokens_are_refused(make_guard: MakeGuard, effort: Effort = DEFAULT) -> None:
    """And change nothing: neither what is held, nor what is remembered."""
    pairs = [
        (Token(1, 1), Token(1, 2)),
        (Token(1, 9), Token(1, 10)),  # numbers, not texts
        (Token(1, 2**31 - 1), Token(1, 2**31)),  # and not in a column of 32 bits
        (Token(1, 2**32 - 1), Token(1, 2**32)),
        (Token(1, 2**63 - 2), Token(1, 2**63 - 1)),  # and not floats
        (Token(1, 4711), Token(2, 1)),  # a restore takes revisions back
        (Token(9, 1), Token(10, 1)),
    ]
    with hand(make_guard, effort) as one:
        for lower, greater in pairs:
            name = new_name()
            one.must_write(name, greater, b"kept")
            for _ in range(2):
                one.must_refuse(name, lower, greater)
                one.must_hold(name, b"kept")
            one.must_write(name, greater, b"still let in")


def equal_tokens_are_let_in(make_guard: MakeGuard, effort: Effort = DEFAULT) -> None:
    """One holder writes as often as it likes, through whichever way to the resource."""
    with hand(make_guard, effort) as one, hand(make_guard, effort) as other:
        name = new_name()
        for number in range(3):
            for each in (one, other):
                value = f"{number}".encode()
                each.must_write(name, Token(1, 7), value)
                each.must_hold(name, value)


def names_are_independent(make_guard: MakeGuard, effort: Effort = DEFAULT) -> None:
    """A token says nothing about other names, however alike."""
    with hand(make_guard, effort) as one:
        base = new_name()
        names = [base, base + "/", base + "/a", base.upper(), base + "%", base + "'", base + " "]
        for number, name in enumerate(names):
            one.must_write(name, Token(1, 100 - number), name.encode())
        for number, name in enumerate(names):
            one.must_hold(name, name.encode())
            one.must_refuse(
                name, Token(1, 99 - number), Token(1, 100 - number)
            )  # none was forgotten for another


def all_ways_lead_to_one_memory(make_guard: MakeGuard, effort: Effort = DEFAULT) -> None:
    """What one holder's guard has seen, the next one's has. A guard that remembers in itself fails here."""
    with hand(make_guard, effort) as one, hand(make_guard, effort) as other:
        name = new_name()
        one.must_write(name, Token(1, 5), b"one")
        other.must_write(name, Token(1, 7), b"other")
        one.must_refuse(name, Token(1, 5), Token(1, 7))
        one.must_hold(name, b"other")


# --- the interleavings -------------------------------------------------------------------------------------


def a_holder_stopped_at_any_line_harms_nobody(make_guard: MakeGuard, effort: Effort = DEFAULT) -> None:
    """1. A holder's write is stopped before one of the guard's lines. 2. Its successor writes, or waits for
    it. 3. The holder goes on. Whatever it then does, in the end the successor's value stands. For every line.

    Check-then-act fails here. Lines of the standard library and of installed packages are not counted.
    """
    old, new = Token(1, 5), Token(1, 7)
    with hand(make_guard, effort) as holder, hand(make_guard, effort) as successor:
        for line in range(1, effort.lines_max + 1):
            name = new_name()
            stop = Stop(line)
            late = holder.begin(stop.run, holder.guard.write, name, old, b"old")
            if not stop.reached(late, effort.limit):
                return  # the write has fewer lines than that
            try:
                fresh = successor.begin(successor.guard.write, name, new, b"new")
                waited = not ended(fresh, effort.patience)
            finally:
                stop.go_on()
            where = (
                f"a holder with {old} was stopped in its write, before {stop.where}; its successor with {new}"
            )
            successor.must_succeed(fresh, f"{where} wrote")
            holder.may_fail(late)
            if (held := successor.read(name)) != b"new":
                how = "waited for it, and wrote then" if waited else "wrote meanwhile"
                raise BrokenGuard(f"{where} {how}; then the holder went on, and now {held!r} is held")


def a_storm_of_threads_never_goes_back(make_guard: MakeGuard, effort: Effort = DEFAULT) -> None:
    """Many holders write at once, old and new ones. Whoever looks sees tokens grow, and the greatest has the
    last word.
    """
    threads = 4
    name = new_name()
    tokens = [storm_tokens(threads, each, effort.rounds) for each in range(threads)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(threads) as pool:
            writing = [pool.submit(storm_of_writes, make_guard, name, each) for each in tokens]
            with hand(make_guard, effort) as reader:
                watch_storm(reader, name, writing, effort)
    finally:
        sys.setswitchinterval(before)


def a_storm_of_processes_never_goes_back(make_guard: MakeGuard, effort: Effort = DEFAULT) -> None:
    """The same with processes. A lock inside of one process fails here."""
    processes = 3
    name = new_name()
    with ThreadPoolExecutor(processes) as pool:
        children = [Child(make_guard, effort) for _ in range(processes)]
        try:
            for child in children:
                child.ready()
            writing = [
                pool.submit(child.storm, name, storm_tokens(processes, each, effort.rounds))
                for each, child in enumerate(children)
            ]
            with hand(make_guard, effort) as reader:
                watch_storm(reader, name, writing, effort)
        finally:
            for child in children:
                child.end()


def a_stopped_process_is_refused_when_it_goes_on(make_guard: MakeGuard, effort: Effort = DEFAULT) -> None:
    """1. A process writes and writes. 2. It is stopped (SIGSTOP), wherever it is. 3. Its successor writes, or
    waits for it. 4. It goes on (SIGCONT): it has to be refused, and the successor's value has to stand.
    """
    old, new = Token(1, 5), Token(1, 7)
    dice = random.Random(4711)
    child = Child(make_guard, effort)
    try:
        child.ready()
        with hand(make_guard, effort) as successor:
            for _ in range(max(effort.rounds // 10, 1)):
                name = new_name()
                child.begin_to_write(name, old)
                time.sleep(dice.random() * 0.02)  # anywhere in its write
                child.stop()
                try:
                    fresh = successor.begin(successor.guard.write, name, new, b"new")
                    ended(fresh, effort.patience)
                finally:
                    child.go_on()
                where = f"a process with {old} was stopped; its successor with {new} wrote"
                successor.must_succeed(fresh, where)
                refused = child.refusal()
                if refused != str(new):
                    raise BrokenGuard(
                        f"{where}; when the process went on, its refusal named {refused}, not {new}"
                    )
                successor.must_hold(name, b"new")
    finally:
        child.end()


def it_remembers_when_its_process_is_killed(make_guard: MakeGuard, effort: Effort = DEFAULT) -> None:
    """A holder that is killed (SIGKILL) right after its write was acknowledged has written, and its token is
    known.
    """
    name = new_name()
    child = Child(make_guard, effort)
    try:
        child.ready()
        child.write_and_die(name, Token(1, 7), b"kept")
    finally:
        child.end()
    with hand(make_guard, effort) as one:
        one.must_hold(name, b"kept")
        one.must_refuse(name, Token(1, 5), Token(1, 7))
        one.must_hold(name, b"kept")
        one.must_write(name, Token(1, 7), b"still let in")


Check = Callable[..., None]

THREAD_CHECKS: Final[tuple[Check, ...]] = (
    greater_tokens_are_let_in,
    lower_tokens_are_refused,
    equal_tokens_are_let_in,
    names_are_independent,
    all_ways_lead_to_one_memory,
    a_holder_stopped_at_any_line_harms_nobody,
    a_storm_of_threads_never_goes_back,
)
"""Those that need no other process."""

CHECKS: Final[tuple[Check, ...]] = (
    *THREAD_CHECKS,
    a_storm_of_processes_never_goes_back,
    a_stopped_process_is_refused_when_it_goes_on,
    it_remembers_when_its_process_is_killed,
)
"""All of them: each is called with ``make_guard``, and perhaps an :class:`Effort`, and raises
:class:`BrokenGuard`.
"""


__all__ = [
    "BrokenGuard",
    "CHECKS",
    "Check",
    "Effort",
    "Guarded",
    "MakeGuard",
    "THREAD_CHECKS",
    "check_guard",
]
