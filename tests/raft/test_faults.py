"""Short seeded runs under random faults (faults.py). Longer ones belong to the simulator."""

import pytest

from tests.raft.faults import Faults

BATCH = 25
SEEDS = 400


@pytest.mark.parametrize("first_seed", range(0, SEEDS, BATCH))
def test_safe_under_faults_and_live_after_them(first_seed: int) -> None:
    for seed in range(first_seed, first_seed + BATCH):
        run = Faults(seed)
        try:
            run.run()
        except AssertionError as violation:
            tail = "\n".join(run.cluster.trace[-40:])
            raise AssertionError(
                f"{violation}\nreplay: python -m tests.raft.faults {seed}\n{tail}"
            ) from violation


def test_the_runs_are_not_idle() -> None:
    """What the faults are for does happen: a quiet generator would prove nothing."""
    seen: dict[str, int] = {}
    wanted = ["TimeoutNow", "AppendRefused", "installs the snapshot", "has recovered", "may read"]
    wanted += ["refuses read", "configuration", "(lost)", "SnapshotWanted", "term 5"]
    for seed in range(120):
        run = Faults(seed)
        run.run()
        trace = "\n".join(run.cluster.trace)
        for words in wanted:
            seen[words] = seen.get(words, 0) + (words in trace)
        if all(count >= 3 for count in seen.values()):
            break
    assert all(count >= 3 for count in seen.values()), seen


def test_a_seed_replays_to_the_letter() -> None:
    one, two = Faults(7), Faults(7)
    one.run()
    two.run()
    assert one.cluster.trace == two.cluster.trace
