"""Cycles in a graph of dependencies. Edges have kinds, as bits; a search follows only the kinds it is told to."""

from collections import deque
from typing import Final

WW: Final = 1
"""The second wrote over what the first had written."""
WR: Final = 2
"""The second read what the first wrote."""
RW: Final = 4
"""The second wrote over what the first had read (an anti-dependency)."""
PROCESS: Final = 8
"""The second came after the first in one process."""
TIME: Final = 16
"""The second was called after the first had returned."""

NAMES: Final = {WW: "ww", WR: "wr", RW: "rw", PROCESS: "process", TIME: "time"}


class Graph:
    """Nodes are small ints, edges ``from -> to`` with the kinds of all dependencies between the two."""

    def __init__(self, count: int) -> None:
        self.edges: list[dict[int, int]] = [{} for _ in range(count)]

    def add(self, first: int, second: int, kind: int) -> None:
        if first != second:
            self.edges[first][second] = self.edges[first].get(second, 0) | kind

    def components(self, kinds: int) -> list[list[int]]:
        """The strongly connected components of several nodes, over edges of ``kinds`` (Tarjan, without recursion)."""
        count = len(self.edges)
        order, low = [-1] * count, [0] * count
        on_stack = [False] * count
        stack: list[int] = []
        found: list[list[int]] = []
        next_order = 0
        for root in range(count):
            if order[root] >= 0:
                continue
            work = [(root, iter(self._next(root, kinds)))]
            order[root] = low[root] = next_order
            next_order += 1
            stack.append(root)
            on_stack[root] = True
            while work:
                node, following = work[-1]
                for each in following:
                    if order[each] < 0:
                        order[each] = low[each] = next_order
                        next_order += 1
                        stack.append(each)
                        on_stack[each] = True
                        work.append((each, iter(self._next(each, kinds))))
                        break
                    if on_stack[each]:
                        low[node] = min(low[node], order[each])
                else:
                    work.pop()
                    if work:
                        above = work[-1][0]
                        low[above] = min(low[above], low[node])
                    if low[node] == order[node]:
                        component: list[int] = []
                        while True:
                            member = stack.pop()
                            on_stack[member] = False
                            component.append(member)
                            if member == node:
                                break
                        if len(component) > 1:
                            found.append(sorted(component))
        return found

    def path(self, start: int, end: int, kinds: int, within: set[int]) -> list[int] | None:
        """A shortest path, both ends included, over edges of ``kinds`` between nodes of ``within``."""
        before = {start: -1}
        queue = deque([start])
        while queue:
            node = queue.popleft()
            if node == end:
                found = []
                while node >= 0:
                    found.append(node)
                    node = before[node]
                return found[::-1]
            for each in self._next(node, kinds):
                if each in within and each not in before:
                    before[each] = node
                    queue.append(each)
        return None

    def cycle(self, component: list[int], kinds: int) -> list[int]:
        """A cycle with as few anti-dependencies as there is: the nodes in order, the first not repeated."""
        within = set(component)
        for allowed in (kinds & ~RW, kinds):
            best: list[int] | None = None
            for node in component:
                for each in self._next(node, kinds):
                    if each not in within:
                        continue
                    back = self.path(each, node, allowed, within)
                    if back is not None and (best is None or len(back) < len(best)):
                        best = back
                if best is not None and len(best) == 2:
                    break
            if best is not None:
                return best
        raise ValueError("a strongly connected component has a cycle")

    def kind(self, first: int, second: int, kinds: int) -> int:
        """Of the edge's kinds among ``kinds`` the one that says most."""
        there = self.edges[first][second] & kinds
        return there & -there

    def _next(self, node: int, kinds: int) -> list[int]:
        return [each for each, there in self.edges[node].items() if there & kinds]
