"""The power fails at every disk operation of a scripted life; what was acknowledged is there afterwards.

Tries: acknowledged means on disk (promise 3), and nothing acknowledged is lost (promise 7).
"""

import pytest

from coord.disk.errors import CannotOpen
from coord.disk.settings import StorageSettings
from coord.raft.types import HardState
from tests.disk.helpers import ROOMY, SMALL, Appender, content, entry, reopen
from tests.disk.life import SCRIPT, Model, live, live_until, sections_of, view
from tests.disk.memory import (
    Choice,
    MemoryFileSystem,
    PowerCut,
    all_but_the_witness,
    bytes_only,
    drop_all,
    keep_all,
    names_and_sizes,
    names_only,
    torn,
    witness_only,
)

BOTH = pytest.mark.parametrize("settings", [SMALL, ROOMY], ids=["segments that are soon full", "zeros ahead"])


def operations_of_a_life(settings: StorageSettings) -> int:
    fs = MemoryFileSystem()
    for _ in live(fs, settings=settings):
        pass
    return fs.operations


def choices(cut_at: int) -> list[tuple[str, Choice]]:
    seeds = [cut_at * 1000 + number for number in range(3)]
    return [
        ("keep all", keep_all),
        ("drop all", drop_all),
        ("names only", names_only),
        ("names and sizes", names_and_sizes),
        ("bytes only", bytes_only),
        ("the witness only", witness_only),
        ("all but the witness", all_but_the_witness),
        *((f"torn {seed}", torn(seed)) for seed in seeds),
    ]


def check_reopened(
    after: MemoryFileSystem,
    settings: StorageSettings,
    may_be: list[Model],
    told: str,
    *,
    created: bool,
    goes_on: bool,
) -> None:
    """The folder says one of ``may_be``, without damage; says so again after losing all that was not synced;
    and, if asked, goes on working."""
    try:
        storage, recovered = reopen(after, settings)
    except CannotOpen:
        assert not created, told
        return
    assert recovered.damage is None, f"{told}: {recovered.damage}"
    found = view(recovered)
    assert found in [model.view() for model in may_be], f"{told}: {found}"
    if recovered.snapshot is not None:
        assert content(storage, recovered.snapshot.index) == sections_of(recovered.snapshot), told
    if not found.formed:
        return
    # What was read is promised to others at once: it must survive the next power cut, whatever the cache held.
    second = after.power_cut(drop_all)
    storage, again = reopen(second, settings)
    assert view(again) == found, told
    assert again.cut_bytes == 0, told
    if not goes_on:
        return
    term = found.hard_state.term + 1
    next_entry = entry(found.snapshot[0] + len(found.entries) + 1, term)
    Appender(storage)((next_entry,), HardState(term, 3))
    _, at_last = reopen(second.power_cut(drop_all), settings)
    expected = found._replace(hard_state=HardState(term, 3), entries=(*found.entries, next_entry))
    assert view(at_last) == expected, told
    assert at_last.damage is None, told


@BOTH
@pytest.mark.parametrize("share", range(4))
def test_a_power_cut_at_any_operation_loses_nothing_acknowledged(
    share: int, settings: StorageSettings
) -> None:
    total = operations_of_a_life(settings)
    assert total > 100
    for cut_at in range(1 + share, total + 1, 4):
        fs = MemoryFileSystem()
        fs.cut_at = cut_at
        step, _ = live_until(fs, PowerCut, settings)
        may_be = [Model()] if step is None else list(step.outcomes)
        for name, choice in choices(cut_at):
            told = f"cut at operation {cut_at} ({fs.log[-1]}, {step and step.name}), {name}"
            check_reopened(
                fs.power_cut(choice),
                settings,
                may_be,
                told,
                created=step is not None,
                goes_on=cut_at % 3 == 0,
            )


@BOTH
def test_a_dead_process_leaves_the_cache_and_loses_nothing(settings: StorageSettings) -> None:
    for cut_at in range(1, operations_of_a_life(settings) + 1):
        fs = MemoryFileSystem()
        fs.cut_at = cut_at
        step, _ = live_until(fs, PowerCut, settings)
        fs.cut_at = None
        told = f"killed at operation {cut_at} ({fs.log[-1]})"
        may_be = [Model()] if step is None else list(step.outcomes)
        check_reopened(fs, settings, may_be, told, created=step is not None, goes_on=True)


@BOTH
def test_after_each_step_the_folder_says_exactly_that_step(settings: StorageSettings) -> None:
    fs = MemoryFileSystem()
    before = None
    for step in live(fs, settings=settings):
        if before is not None:
            _, recovered = reopen(fs.power_cut(drop_all), settings)
            assert view(recovered) == before.outcomes[-1].view(), before.name
        before = step
    _, recovered = reopen(fs.power_cut(drop_all), settings)
    assert view(recovered) == SCRIPT[-1].outcomes[-1].view()


@BOTH
@pytest.mark.parametrize("seed", range(2))
def test_a_power_cut_while_opening_after_a_power_cut_loses_nothing(
    seed: int, settings: StorageSettings
) -> None:
    total = operations_of_a_life(settings)
    for cut_at in range(1 + seed, total + 1, 5):
        fs = MemoryFileSystem()
        fs.cut_at = cut_at
        step, _ = live_until(fs, PowerCut, settings)
        if step is None:
            continue
        may_be = list(step.outcomes)
        files = fs.power_cut(torn(cut_at)).files()
        for second_cut in range(1, 40):
            second = MemoryFileSystem(files)
            second.cut_at = second_cut
            try:
                reopen(second, settings)
            except PowerCut:
                pass
            else:
                break
            told = f"cut at operation {cut_at}, then {second_cut} ({second.log[-1]})"
            check_reopened(
                second.power_cut(torn(second_cut)), settings, may_be, told, created=True, goes_on=False
            )
        else:
            pytest.fail("opening never ended")
