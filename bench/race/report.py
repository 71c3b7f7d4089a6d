"""The page: tables and pictures from the figures of a race.

What is written by hand on the page stays; what stands between the two markers is made anew.
"""

from pathlib import Path
from statistics import median
from typing import Any

from race.works import BEST_RATIOS

BEGIN, END = "<!-- race: from here on written by bench/race -->", "<!-- race: until here -->"
SYSTEMS = ("coord", "zookeeper", "etcd")
READS = ("linearizable", "local", "at-least")
COLOURS = {"coord": "#2a6f97", "zookeeper": "#b08968", "etcd": "#9aa5b1"}

Results = dict[str, dict[str, list[dict[str, float]]]]


def write_report(facts: dict[str, Any], page: Path) -> None:
    """Put the tables into ``page`` and the pictures beside it, into ``performance/``."""
    results: Results = facts["results"]
    pictures = page.parent / "performance"
    parts = [_conditions(facts), _requests(results), _watches(results), _failover(results), _million(results)]
    drawn = _draw(results, pictures)
    parts += [f"![{name}](performance/{name}.svg)\n" for name in drawn]
    made = "\n".join([BEGIN, "", *(part for part in parts if part), END])
    text = page.read_text() if page.exists() else f"# Performance\n\n{BEGIN}\n{END}\n"
    head, _, rest = text.partition(BEGIN)
    tail = rest.partition(END)[2]
    page.write_text(head + made + tail)


def _conditions(facts: dict[str, Any]) -> str:
    machine = facts["machine"]
    lines = [
        f"Measured on {machine['date']}: {machine['cpu']}, {machine['memory']}, {machine['system']}. Three members and "
        f"the load on this one machine; {facts['rounds']} rounds, each system in turn with a fresh cluster, "
        f"{facts['seconds']:g} s for each work after warming up. The figures are medians of the rounds; a ratio is the "
        "median of the rounds' ratios, coord over the better of its peers.",
        "",
    ]
    for name, system in facts["systems"].items():
        lines.append(f"- **{name}**: {system['version']}. {system['durability']}.")
    for what, why in facts["skipped"].items():
        lines.append(f"- Left out: {what}: {why}")
    return "\n".join([*lines, ""])


def _of(results: Results, title: str, system: str, figure: str) -> float | None:
    rows = results.get(title, {}).get(system)
    return median(row[figure] for row in rows) if rows else None


def _ratio(
    results: Results, title: str, peers: dict[str, str], figure: str = "rate_per_second"
) -> float | None:
    """coord over the better of ``peers`` (system -> the title of what it is compared with), round by round."""
    ours = results.get(title, {}).get("coord", [])
    ratios = []
    for number, row in enumerate(ours):
        theirs = [
            results.get(other, {}).get(system, [])[number : number + 1] for system, other in peers.items()
        ]
        best = max((found[0][figure] for found in theirs if found), default=0.0)
        if best:
            ratios.append(row[figure] / best)
    return median(ratios) if ratios else None


def _peers(title: str) -> dict[str, str]:
    """What each peer is compared with. ZooKeeper has only the read that may be stale: it counts for every read."""
    stale = title
    for read in READS:
        stale = stale.replace(f"({read})", "(local)")
    fresh = title.replace("(at-least)", "(local)")
    return {"zookeeper": stale, "etcd": fresh}


def _cell(value: float | None, form: str = ",.0f") -> str:
    return "-" if value is None else format(value, form)


def _requests(results: Results) -> str:
    titles = [title for title in results if not title.startswith(("watch", "failover", "million"))]
    if not titles:
        return ""
    lines = [
        "## Requests",
        "",
        "Connections x requests in flight on each; rate a second, and p50 / p99 in ms. Reads: *linearizable* is "
        "coord's and etcd's default; *local* is what the member has, ZooKeeper's only kind; *at-least* is coord's "
        "causal read.",
        "",
        "| | coord | ZooKeeper | etcd | ratio | aim |",
        "|---|---|---|---|---|---|",
    ]
    for title in titles:
        cells = []
        for system in SYSTEMS:
            rate = _of(results, title, system, "rate_per_second")
            p50, p99 = (_of(results, title, system, name) for name in ("p50_ms", "p99_ms"))
            cells.append("-" if rate is None else f"**{rate:,.0f}** {p50:.2f} / {p99:.1f}")
        aim = BEST_RATIOS.get(title)
        ratio = _cell(_ratio(results, title, _peers(title)), ".1f")
        lines.append(f"| {title} | {' | '.join(cells)} | {ratio} | {_cell(aim, '.1f') if aim else ''} |")
    return "\n".join([*lines, ""])


def _watches(results: Results) -> str:
    titles = [title for title in results if title.startswith("watch")]
    if not titles:
        return ""
    lines = [
        "## Watches",
        "",
        "Sessions x watches of each: of one znode (*watch-one*), or each of its own (*watch-own*). Events delivered a "
        "second, and p50 / p99 in ms from the sending of the sets.",
        "",
        "| | coord | ZooKeeper | etcd | ratio |",
        "|---|---|---|---|---|",
    ]
    for title in titles:
        cells = []
        for system in SYSTEMS:
            rate = _of(results, title, system, "rate_per_second")
            p50, p99 = (_of(results, title, system, name) for name in ("p50_ms", "p99_ms"))
            cells.append("-" if rate is None else f"**{rate:,.0f}** {p50:.1f} / {p99:.1f}")
        ratio = _ratio(results, title, {"zookeeper": title, "etcd": title})
        lines.append(f"| {title} | {' | '.join(cells)} | {_cell(ratio, '.1f')} |")
    return "\n".join([*lines, ""])


def _failover(results: Results) -> str:
    if "failover" not in results:
        return ""
    cells = [_cell(_of(results, "failover", system, "longest_gap_ms")) for system in SYSTEMS]
    return "\n".join(
        [
            "## The leader is killed",
            "",
            "`kill -9` of the leader while eight clients write: the longest time in which none was answered, in ms.",
            "",
            "| | coord | ZooKeeper | etcd |",
            "|---|---|---|---|",
            f"| longest gap, ms | {' | '.join(cells)} |",
            "",
        ]
    )


def _million(results: Results) -> str:
    if "million" not in results:
        return ""
    rows = (
        ("creates a second while it is loaded", "creates_per_second", ",.0f"),
        ("p99.9 of these creates, ms", "p999_ms", ",.0f"),
        ("resident a member, MB", "resident_mb", ",.0f"),
        ("of which an empty one has, MB", "empty_mb", ",.0f"),
        ("a follower killed and started again: seconds until it serves", "restart_s", ".1f"),
        ("resident then, MB", "resident_after_mb", ",.0f"),
    )
    lines = ["## A million znodes of 100 bytes", "", "| | coord | ZooKeeper | etcd |", "|---|---|---|---|"]
    for name, figure, form in rows:
        cells = [_cell(_of(results, "million", system, figure), form) for system in SYSTEMS]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _draw(results: Results, folder: Path) -> list[str]:
    """Bars of the rates, as SVG. Their names."""
    groups = {
        "writes": [title for title in results if title.startswith(("set", "create", "cas", "mixed"))],
        "reads": [title for title in results if title.startswith("get")],
    }
    groups = {name: titles for name, titles in groups.items() if titles}
    if not groups:
        return []
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "coord"  # the same figures, the same file
    from matplotlib import pyplot

    folder.mkdir(exist_ok=True)
    for name, titles in groups.items():
        figure, axes = pyplot.subplots(figsize=(10, 0.5 * len(titles) + 1.2))
        for place, system in enumerate(SYSTEMS):
            rates = [_of(results, title, system, "rate_per_second") or 0.0 for title in titles]
            axes.barh(
                [row + 0.27 * (place - 1) for row in range(len(titles))],
                rates,
                0.25,
                label=system,
                color=COLOURS[system],
            )
        axes.set_yticks(range(len(titles)), titles)
        axes.invert_yaxis()
        axes.set_xscale("log")
        axes.set_xlabel("requests a second (logarithmic)")
        axes.legend(frameon=False)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        figure.tight_layout()
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
        pyplot.close(figure)
    return list(groups)
