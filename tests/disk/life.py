"""A scripted life of a member's folder, and which states a crash may leave it in.

Each step does something to a :class:`Storage` and says what the folder may say afterwards: exactly the last of
``outcomes`` once the step has returned, any of them when the power fails during it.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from coord.disk.opening import Recovered
from coord.disk.settings import StorageSettings
from coord.disk.storage import Storage
from coord.raft.types import Configuration, Entry, HardState, SnapshotMeta
from tests.disk.helpers import CLUSTER, SMALL, Appender, entries, entry, meta, reopen
from tests.disk.memory import MemoryFileSystem

NONE = SnapshotMeta(0, 0, Configuration(()))


class View(NamedTuple):
    """What a member goes on with."""

    formed: bool
    hard_state: HardState
    snapshot: tuple[int, int]
    entries: tuple[Entry, ...]


class Model(NamedTuple):
    """What the folder must hold. ``log[0]`` has index ``base + 1``."""

    formed: bool = False
    hard_state: HardState = HardState(0, 0)
    snapshot: SnapshotMeta = NONE
    base: tuple[int, int] = (0, 0)
    log: tuple[Entry, ...] = ()

    def view(self) -> View:
        index, term = self.snapshot[:2]
        at = index - self.base[0]
        reaches = 0 <= at <= len(self.log) and (self.log[at - 1].term if at else self.base[1]) == term
        return View(self.formed, self.hard_state, (index, term), self.log[at:] if reaches else ())


class Step(NamedTuple):
    name: str
    do: Callable[[Storage, Appender], None]
    outcomes: Sequence[Model]


def appended(model: Model, batch: Sequence[Entry], hard_state: HardState | None) -> list[Model]:
    """The model before, after the hard state, and after each entry."""
    outcomes = [model]
    if hard_state is not None:
        outcomes.append(outcomes[-1]._replace(hard_state=hard_state))
    for one in batch:
        log = outcomes[-1].log[: one.index - 1 - model.base[0]]
        outcomes.append(outcomes[-1]._replace(log=(*log, one)))
    return outcomes


def script() -> Iterator[Step]:
    """Forming, appends of all sizes, truncation, hard states, rolls, snapshots own and received, trims, a reset."""
    model = Model()

    def forming(storage: Storage, _: Appender) -> None:
        storage.set_cluster_id(CLUSTER)

    outcomes = [model, model._replace(formed=True)]
    yield Step("form", forming, outcomes)
    model = outcomes[-1]

    def append(batch: Sequence[Entry], hard_state: HardState | None = None) -> Step:
        return Step(
            f"append {[one[:2] for one in batch]} {hard_state}",
            lambda _, appender: appender(batch, hard_state),
            appended(model, batch, hard_state),
        )

    def snapshot(what: SnapshotMeta) -> Step:
        def do(storage: Storage, _: Appender) -> None:
            writer = storage.begin_snapshot(what)
            for section in sections_of(what):
                writer.add(section)
            writer.commit()

        return Step(f"snapshot {what[:2]}", do, [model, model._replace(snapshot=what)])

    def receive(what: SnapshotMeta) -> Step:
        def do(storage: Storage, _: Appender) -> None:
            writer = storage.receive_snapshot(what)
            for section in sent(what):
                writer.add(section)
            writer.commit()

        return Step(f"receive {what[:2]}", do, [model, model._replace(snapshot=what)])

    def trim(snapshot_index: int, keep_from: int) -> Step:
        return Step(f"trim {keep_from}", lambda storage, _: storage.trim(snapshot_index, keep_from), [model])

    def reset(what: SnapshotMeta) -> Step:
        return Step(
            f"reset {what[:2]}",
            lambda storage, _: storage.reset_log(what),
            [model, model._replace(base=what[:2], log=())],
        )

    plan: list[Callable[[], Step]] = [
        lambda: append((), HardState(1, 0)),
        lambda: append(entries(1, 3)),
        lambda: append((entry(4, 1, b"x" * 1300), *entries(5, 8))),
        lambda: append(entries(6, 7, 2), HardState(2, 3)),
        lambda: append((), HardState(3, 1)),
        lambda: append(entries(8, 20, 3)),
        lambda: snapshot(meta(7, 2)),
        lambda: trim(7, 6),
        lambda: append((entry(15, 4, b"\xc0\x0d\x57\xa1" * 200),), HardState(4, 0)),
        lambda: append(entries(16, 40, 4)),
        lambda: append(entries(41, 42, 4)),
        lambda: snapshot(meta(41, 4)),
        lambda: trim(41, 39),
        lambda: append(entries(43, 58, 4)),
        lambda: append((entry(59, 4, b"y" * 2000), *entries(60, 63, 4))),
        lambda: append(entries(64, 65, 4)),  # two segments that conflict with the leader's snapshot
        lambda: receive(meta(60, 5, Configuration((1, 2), (1, 2, 3), (4,), (3,)))),
        lambda: reset(meta(60, 5)),
        lambda: trim(60, 61),
        lambda: append(entries(61, 63, 5), HardState(5, 2)),
        lambda: append(entries(64, 90, 5)),
        lambda: snapshot(meta(62, 5)),
        lambda: trim(62, 60),
        lambda: append(entries(63, 64, 6), HardState(6, 1)),
        lambda: append(entries(65, 66, 6)),
    ]
    for make in plan:
        step = make()
        yield step
        model = step.outcomes[-1]


def sections_of(what: SnapshotMeta) -> list[bytes]:
    return [f"section {number} of {what.index}".encode() * 90 for number in range(3)]


_SENT: dict[SnapshotMeta, list[bytes]] = {}


def sent(what: SnapshotMeta) -> list[bytes]:
    """What a leader would send: taken from another member's folder."""
    if what not in _SENT:
        leader, _ = Storage.open(MemoryFileSystem(), member_id=2, create=True, settings=SMALL)
        leader.set_cluster_id(CLUSTER)
        writer = leader.begin_snapshot(what)
        for section in sections_of(what):
            writer.add(section)
        writer.commit()
        _SENT[what] = []
        last = False
        while not last:
            section, last = leader.read_section(what.index, len(_SENT[what]))
            _SENT[what].append(section)
    return _SENT[what]


SCRIPT = list(script())


def view(recovered: Recovered) -> View:
    snapshot = recovered.snapshot or NONE
    return View(recovered.identity.formed, recovered.hard_state, snapshot[:2], tuple(recovered.entries))


def live(
    fs: MemoryFileSystem, steps: Sequence[Step] = SCRIPT, settings: StorageSettings = SMALL
) -> Iterator[Step]:
    """Run the steps; yields each before it is done."""
    storage, _ = reopen(fs, settings, create=True)
    appender = Appender(storage)
    for step in steps:
        yield step
        step.do(storage, appender)


def live_until(
    fs: MemoryFileSystem, ends: type[BaseException], settings: StorageSettings = SMALL
) -> tuple[Step | None, BaseException | None]:
    """Run the script until it raises ``ends``: the step it was in (None: not yet in any), and what was raised."""
    current = None
    try:
        for step in live(fs, settings=settings):
            current = step
    except ends as end:
        return current, end
    return current, None
