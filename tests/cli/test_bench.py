"""``coord bench``: what it makes of what a member may say."""

from coord.cli.bench import Connection, Plan, Read, Tally, Work
from coord.testing import cluster

IN_FLIGHT = 4


def test_a_reply_that_comes_twice_counts_once() -> None:
    """An overloaded cluster may apply a repetition, and answers that, too (docs/PROTOCOL.md: to be ignored)."""
    with cluster(1) as member:
        tally = Tally()
        plan = Plan(Work.CREATE, 1, IN_FLIGHT, 1.0, 100, 10, Read.LINEARIZABLE, list(member.endpoints))
        connection = Connection(plan, 0, tally)
        connection.open()
        connection.prepare()
        tally.measuring = True
        frames = connection._frames
        connection._frames = lambda: [each for frame in frames() for each in (frame, frame)]  # type: ignore[method-assign]
        connection.begin()
        while tally.done < 3 * IN_FLIGHT:
            connection.go_on()
            assert len(connection._sent) == IN_FLIGHT
        connection.close()
        assert len(tally.latencies) == tally.done
