"""Which links a partition cuts: the shapes that real ones have had."""

from random import Random


def draw_cut(kind: str, members: list[int], dice: Random) -> tuple[list[tuple[int, int]], str]:
    """The directed pairs that are cut, and the shape in words. Nothing, if there are too few members for it."""
    order = list(members)
    dice.shuffle(order)
    if len(order) < 2:
        return [], ""
    one, rest = order[0], order[1:]
    if kind == "halves":
        middle = dice.randint(1, len(order) - 1)
        return _between(order[:middle], order[middle:]), f"{order[:middle]} from {order[middle:]}"
    if kind == "one":
        return _between([one], rest), f"{one} from all"
    if kind == "in":
        return [(other, one) for other in rest], f"all to {one}"
    if kind == "out":
        return [(one, other) for other in rest], f"{one} to all"
    if kind == "link":
        return [(one, rest[0]), (rest[0], one)], f"{one} and {rest[0]}"
    if kind == "one_way_link":
        return [(one, rest[0])], f"{one} to {rest[0]}"
    if len(order) < 3:
        return [], ""
    if kind == "bridge":
        middle = len(rest) // 2
        return _between(
            rest[:middle], rest[middle:]
        ), f"{rest[:middle]} from {rest[middle:]}, {one} between them"
    # A ring: each hears its neighbours only.
    neighbours = {(order[at], order[(at + 1) % len(order)]) for at in range(len(order))}
    pairs = [
        (a, b) for a in members for b in members
        if a != b and (a, b) not in neighbours and (b, a) not in neighbours
    ]  # fmt: skip
    return pairs, f"a ring of {order}"


def _between(some: list[int], others: list[int]) -> list[tuple[int, int]]:
    return [pair for a in some for b in others for pair in ((a, b), (b, a))]
