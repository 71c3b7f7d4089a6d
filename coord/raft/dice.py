"""Seeded dice (splitmix64), so that the same seed and the same inputs give the same run."""

_MASK = (1 << 64) - 1


class Dice:
    """A stream of 64-bit numbers from a seed. It is part of the state, and nothing here draws from elsewhere."""

    __slots__ = ("_state",)

    def __init__(self, seed: int) -> None:
        self._state = seed & _MASK

    def draw(self) -> int:
        """The next number in ``[0, 2**64)``."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        mixed = self._state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return mixed ^ (mixed >> 31)

    def below(self, bound: int) -> int:
        """A number in ``[0, bound)``. The bias is below one in 2**50 for the small bounds used here."""
        return self.draw() % bound
