"""TTL znodes, as the observer sees them: none goes before its time, and none stays much longer.

Counted anew, from what the log says of a znode and of its children, in the cluster's time. (A history has no such time,
so no checker of histories can see this.)
"""

from typing import TYPE_CHECKING

from coord.api.events import CREATED, DELETED, RELEASED, WITHDRAWN, Change, Reason
from coord.api.paths import ROOT, parent
from coord.store import store as store_module
from coord.store.store import Store
from coord.store.znode import KIND, TTL, stat_row

if TYPE_CHECKING:
    from coord.jepsen_like.sim.simulation import Simulation

_SWEPT = int(Reason.TTL)


class Ageing:
    def __init__(self, sim: "Simulation") -> None:
        self._sim = sim
        self._due_ms: dict[str, int] = {}
        """Path -> the cluster time before which that TTL znode is not to go, were nobody to touch it."""
        self._ttl_ms: dict[str, int] = {}
        self._children: dict[str, int] = {}
        """Of those TTL znodes that have some."""
        self._swept = 0
        """With the present entry."""

    def applied(self, store: Store, changes: tuple[Change, ...]) -> None:
        """A revision was made, at the store's present time."""
        now_ms = store.time_ms
        for kind, path, _, _, _, _, reason in changes:
            if kind == DELETED:
                ttl_ms = self._ttl_ms.pop(path, None)
                if reason == _SWEPT:
                    self._swept += 1
                    self._sim.mark("ttl_swept")
                    if ttl_ms is None or self._due_ms[path] > now_ms or self._children.get(path):
                        what = f"{path} went at {now_ms}, of {ttl_ms} ms until {self._due_ms.get(path)}"
                        self._sim.broken("ttl", f"{what}, with {self._children.get(path, 0)} children")
                self._due_ms.pop(path, None)
                self._children.pop(path, None)
            elif kind == CREATED:
                znode = store.tree.znodes.get(path)
                if znode is not None and znode[KIND] == TTL:
                    self._ttl_ms[path] = stat_row(znode, 0)[-1]
            if kind <= DELETED or kind in (RELEASED, WITHDRAWN):
                self._touched(path, now_ms)
            if kind in (CREATED, DELETED) and path != ROOT and parent(path) in self._ttl_ms:
                above = parent(path)
                self._children[above] = self._children.get(above, 0) + (1 if kind == CREATED else -1)
                self._touched(above, now_ms)

    def _touched(self, path: str, now_ms: int) -> None:
        if path in self._ttl_ms:
            self._due_ms[path] = now_ms + self._ttl_ms[path]

    def after_entry(self, store: Store) -> None:
        """Whatever is due by now has gone with this entry, unless that was too much for one."""
        swept, self._swept = self._swept, 0
        if swept >= store_module.TTL_SWEEP:
            return
        for path, due_ms in self._due_ms.items():
            if due_ms <= store.time_ms and not self._children.get(path) and not store.claims.claimed(path):
                self._sim.broken("ttl", f"{path} was due at {due_ms}, and is there at {store.time_ms}")
