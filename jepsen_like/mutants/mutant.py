"""A mutant: a patch file with a header that says what it breaks and who finds it.

The header is everything before the first ``---`` line::

    A member forgets whom it voted for when it starts again.
    Like: catalogue 2, "vote not restored".
    found-by: sim seeds=3..3 --set voters=3

The first line is what the table shows; the last begins with ``found-by:``. Nothing else is read by machines.
"""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent

_FOUND_BY: Final = "found-by:"

FRESH_FROM: Final = 100_000_000
"""The first of the seeds that are searched where no recorded one finds anything: from there on worlds of all kinds are
drawn (``RECIPES_FROM`` in sim/kinds.py)."""

SEARCHED_FROM: Final = 1_000_000
"""A recorded seed from here on was come by in a search."""


class Malformed(ValueError):
    """A header that cannot be read; the text names the file."""


@dataclass(frozen=True, slots=True)
class Finder:
    """What finds a mutant. Equal finders do equal work, whatever they are let loose on."""

    kind: str
    """``sim``, ``scope`` or ``pytest``."""
    target: str = ""
    """The scope, or the test's id."""
    first: int = 0
    last: int | None = 0
    """Seeds ``[first, last]`` of the simulator, until one fails; None: without end."""
    settings: tuple[tuple[str, str], ...] = ()
    """Of the simulated world: ``(field, value as text)``."""

    def __str__(self) -> str:
        if self.kind != "sim":
            return f"{self.kind} {self.target}"
        seeds = f"seeds={self.first}..{'' if self.last is None else self.last}"
        return " ".join(
            ["sim", seeds, *(f"--set {shlex.quote(f'{key}={text}')}" for key, text in self.settings)]
        )

    @property
    def is_quick(self) -> bool:
        """Whether it needs some seconds: no scope, whose innocence takes all of its states, and no seed that a long
        search came by.
        """
        return self.kind == "pytest" or (
            self.kind == "sim" and self.last is not None and self.last < SEARCHED_FROM
        )

    def at(self, seed: int) -> "Finder":
        """Only this seed; what is no simulation has none and stays as it is."""
        return replace(self, first=seed, last=seed) if self.kind == "sim" else self

    def from_seed(self, seed: int) -> "Finder":
        """All seeds from this one on."""
        return replace(self, first=seed, last=None) if self.kind == "sim" else self


@dataclass(frozen=True, slots=True)
class Mutant:
    name: str
    path: Path
    what: str
    """What is broken, in one line."""
    finder: Finder


def finder_of(text: str) -> Finder:
    """Read what follows ``found-by:``. Raises :class:`ValueError`."""
    kind, *words = shlex.split(text)
    if kind in ("scope", "pytest"):
        (target,) = words
        return Finder(kind, target)
    if kind != "sim":
        raise ValueError(f"{kind!r} is no finder: sim, scope and pytest are")
    seeds, *rest = words
    name, _, numbers = seeds.partition("=")
    first, _, last = numbers.partition("..")
    if name != "seeds":
        raise ValueError(f"{seeds!r} should be seeds=A..B")
    settings = []
    while rest:
        flag, setting, *rest = rest
        key, equals, value = setting.partition("=")
        if flag != "--set" or not equals:
            raise ValueError(f"{flag} {setting} should be --set key=value")
        settings.append((key, value))
    return Finder(kind, "", int(first), int(last) if last else None, tuple(settings))


def read_mutant(path: Path) -> Mutant:
    """Raises :class:`Malformed`."""
    header: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("--- "):
            break
        header.append(line)
    else:
        raise Malformed(f"{path.name} holds no change")
    if not header or not header[0] or not header[-1].startswith(_FOUND_BY):
        raise Malformed(
            f"{path.name} begins with what it breaks, and its header ends with a line {_FOUND_BY} …"
        )
    try:
        finder = finder_of(header[-1].removeprefix(_FOUND_BY))
    except ValueError as error:
        raise Malformed(f"{path.name}: its {_FOUND_BY} line cannot be read: {error}") from error
    return Mutant(path.stem, path, header[0], finder)


def record_finder(mutant: Mutant, finder: Finder) -> None:
    """Write into the patch's header what found it."""
    text = mutant.path.read_text(encoding="utf-8")
    header, cut, change = text.partition("\n--- ")
    lines = [line for line in header.splitlines() if not line.startswith(_FOUND_BY)]
    mutant.path.write_text("\n".join([*lines, f"{_FOUND_BY} {finder}"]) + cut + change, encoding="utf-8")


def all_mutants(names: Iterable[str] = ()) -> list[Mutant]:
    """All, or those whose names begin with one of ``names``. Raises :class:`Malformed`, :class:`KeyError`."""
    found = [read_mutant(path) for path in sorted(HERE.glob("*.patch"))]
    chosen = tuple(names)
    for name in chosen:
        if not any(each.name.startswith(name) for each in found):
            raise KeyError(name)
    return [each for each in found if not chosen or each.name.startswith(chosen)]
