"""A little SVG: one time axis, shapes on it, and text that says what they are when a pointer rests on them."""

from html import escape
from typing import Final

LEFT, WIDTH = 170, 1_200
"""Pixels: room for labels, and for the time axis."""

OUTCOMES: Final = {"ok": "#3f9c5a", "refused": "#d9a521", "unknown": "#c2452d"}
FAULT, ANOMALY, INK, GRID = "#7d5ba6", "#d0021b", "#30343b", "#dfe3e8"
MEMBERS: Final = (
    "#4c78a8",
    "#f58518",
    "#54a24b",
    "#b279a2",
    "#9d755d",
    "#72b7b2",
    "#e45756",
    "#eeca3b",
    "#79706e",
)


class Axis:
    """From nanoseconds to pixels."""

    def __init__(self, first_ns: int, last_ns: int) -> None:
        self.first_ns = first_ns
        self.seconds = max((last_ns - first_ns) / 1e9, 0.001)

    def x(self, at_ns: int) -> float:
        return LEFT + self.at_s(at_ns) / self.seconds * WIDTH

    def at_s(self, at_ns: int) -> float:
        return (at_ns - self.first_ns) / 1e9


class Drawing:
    """Shapes below each other: every panel takes its height and begins where the last one ended."""

    def __init__(self, axis: Axis) -> None:
        self.axis = axis
        self.height = 0.0
        self._shapes: list[str] = []
        self._behind: list[tuple[float, float, str]] = []

    def band(self, begin_ns: int, end_ns: int, colour: str) -> None:
        """Behind everything, from top to bottom."""
        x = self.axis.x(begin_ns)
        self._behind.append((x, max(self.axis.x(end_ns) - x, 0.8), colour))

    def rect(
        self, begin_ns: int, end_ns: int, y: float, height: float, colour: str, tip: str, opacity: float = 1
    ) -> None:
        """A bar from one time to another; never too thin to be seen."""
        x = self.axis.x(begin_ns)
        width = max(self.axis.x(end_ns) - x, 0.8)
        faint = f' fill-opacity="{opacity:g}"' if opacity != 1 else ""
        self._shapes.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
            f'fill="{colour}"{faint}>{_tip(tip)}</rect>'
        )

    def line(self, points: list[tuple[float, float]], colour: str, tip: str) -> None:
        """Through pixels."""
        if points:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            self._shapes.append(
                f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.4">{_tip(tip)}</polyline>'
            )

    def rule(self, y: float) -> None:
        self._shapes.append(
            f'<line x1="{LEFT}" x2="{LEFT + WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="{GRID}"/>'
        )

    def label(self, y: float, text: str, x: float = LEFT - 8, anchor: str = "end") -> None:
        self._shapes.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>')

    def anomaly(self, at_ns: int, y: float, number: int, tip: str) -> None:
        """A mark that leads to the violation with this number."""
        x = self.axis.x(at_ns)
        self._shapes.append(
            f'<a href="#violation-{number}"><path d="M{x:.1f},{y - 6:.1f} l6,6 l-6,6 l-6,-6 z" fill="{ANOMALY}" '
            f'stroke="white">{_tip(tip)}</path></a>'
        )

    def seconds(self) -> None:
        """The axis itself, with about ten numbers."""
        step = next(
            each for each in (0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 86400, 1e9)
            if self.axis.seconds / each <= 14
        )  # fmt: skip
        for count in range(int(self.axis.seconds / step) + 1):
            x = LEFT + count * step / self.axis.seconds * WIDTH
            self._shapes.append(
                f'<line x1="{x:.1f}" x2="{x:.1f}" y1="14" y2="{self.height:.0f}" stroke="{GRID}" stroke-width="0.6"/>'
            )
            self.label(11, f"{count * step:g} s", x, "middle")

    def svg(self) -> str:
        bands = [
            f'<rect x="{x:.1f}" y="16" width="{width:.1f}" height="{self.height - 16:.0f}" fill="{colour}" '
            f'fill-opacity="0.09"/>'
            for x, width, colour in self._behind
        ]
        size = f"0 0 {LEFT + WIDTH + 20} {self.height + 10:.0f}"
        return f'<svg viewBox="{size}" role="img">' + "\n".join(bands + self._shapes) + "</svg>"


def _tip(text: str) -> str:
    return f"<title>{escape(text)}</title>"
