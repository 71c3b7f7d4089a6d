"""A leader's leases: whoever is overdue is found, though all are looked at only when somebody may be."""

import random

from coord.replica.leases import Leases


def test_nobody_overdue_is_missed() -> None:
    """Against a memory that looks at everyone each time."""
    for seed in range(200):
        dice = random.Random(seed)
        timeouts = {session: dice.randint(1, 50) for session in range(8)}
        leases = Leases(range(4), 0, 10)
        heard, expiring, now_ms, looks = dict.fromkeys(range(4), 0), set[int](), 0, 0
        for _ in range(200):
            now_ms += dice.randint(0, 10)
            leases.tick(now_ms)
            session = dice.randrange(8)
            match dice.randrange(6):
                case 0 if session not in heard:
                    leases.opened(session)
                    heard[session] = leases.waking_ms
                case 1:
                    leases.ended(session)
                    heard.pop(session, None)
                    expiring.discard(session)
                case 2 if expiring:
                    spared = sorted(expiring)[:1]
                    leases.spare(spared)
                    expiring -= set(spared)
                case _:
                    leases.touch(session)
                    if session in heard and session not in expiring:
                        heard[session] = leases.waking_ms
            due = [
                each
                for each, at_ms in heard.items()
                if leases.waking_ms - at_ms > timeouts[each] and each not in expiring
            ]
            if leases.may_be_overdue:
                looks += 1
                assert leases.take_overdue(timeouts) == due, seed
            else:
                assert not due, seed
            expiring |= set(due)
        assert looks < 200


def test_sessions_that_are_heard_of_are_seldom_looked_at() -> None:
    timeouts = dict.fromkeys(range(100), 30_000)
    leases = Leases(timeouts, 0, 100)
    looks = 0
    for tick in range(3_000):  # five minutes; each is heard of every ten seconds
        leases.tick(tick * 100)
        leases.touch(tick % 100)
        if leases.may_be_overdue:
            looks += 1
            assert leases.take_overdue(timeouts) == []
    assert looks < 20
