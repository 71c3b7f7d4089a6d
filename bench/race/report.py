"""The page: tables and pictures from the figures of a race.

What is written by hand on the page stays; what stands between the two markers is made anew.
"""

from pathlib import Path
from statistics import median
from typing import Any

from race.loads import PYTHON_HANDOFFS
from race.works import BEST_RATIOS, HALF_LOAD_P999_MS, LEAST_RATIOS, REQUESTS

BEGIN, END = "<!-- race: from here on written by bench/race -->", "<!-- race: until here -->"
SYSTEMS = ("coord", "zookeeper", "etcd")
ONCE = ("million", "sessions")
"""They take long, and are done in the first round only."""
READS = ("linearizable", "local", "at-least")
COLOURS = {"coord": "#2a6f97", "zookeeper": "#b08968", "etcd": "#9aa5b1"}

Results = dict[str, dict[str, list[dict[str, float]]]]

_GROWTH = """## Growth

coord alone, one thing at a time (`python -m race.growth`); rates a second, both axes logarithmic, and the seconds that
a member takes from its start after `kill -9` until it serves.

![growth](performance/growth.svg)
"""


def write_report(facts: dict[str, Any], page: Path) -> None:
    """Put the tables into ``page`` and the pictures beside it, into ``performance/``."""
    results: Results = facts["results"]
    pictures = page.parent / "performance"
    parts = [
        _conditions(facts),
        _requests(results),
        _watches(results),
        _handoffs(results),
        _failover(results),
    ]
    parts += [_sessions(results), _million(results)]
    drawn = _draw(results, pictures)
    parts += [f"![{name}](performance/{name}.svg)\n" for name in drawn]
    if (pictures / "growth.svg").exists():
        parts += [_GROWTH]
    made = "\n".join([BEGIN, "", *(part for part in parts if part), END])
    text = page.read_text() if page.exists() else f"# Performance\n\n{BEGIN}\n{END}\n"
    head, _, rest = text.partition(BEGIN)
    tail = rest.partition(END)[2]
    page.write_text(head + made + tail)


def _conditions(facts: dict[str, Any]) -> str:
    machine = facts["machine"]
    lines = [
        f"Measured on {machine['date']}: {machine['cpu']}, {machine['memory']}, {machine['system']}. Three members and "
        f"the load on this one machine; {_rounds(facts['results'])}, each system in turn with a fresh cluster, "
        f"{facts['seconds']:g} s for each work, after warming up the cluster and the load. The figures are "
        "medians of the rounds; a ratio is the median of the rounds' ratios, coord over the better of its "
        "peers: above 1 coord has the higher rate, or takes the longer.",
        "",
    ]
    for name, system in facts["systems"].items():
        lines.append(f"- **{name}**: {system['version']}. {system['durability']}.")
    for what, why in facts["skipped"].items():
        lines.append(f"- Left out: {what}: {why}")
    return "\n".join([*lines, ""])


def _rounds(results: Results) -> str:
    """How many there are of each work: a run that was cut short has fewer of some."""
    counts = {
        len(rows) for title, systems in results.items() if title not in ONCE for rows in systems.values()
    }
    if not counts or counts == {1}:
        return "one round"
    fewest, most = min(counts), max(counts)
    return f"{most} rounds" if fewest == most else f"{fewest} to {most} rounds"


def _of(results: Results, title: str, system: str, figure: str) -> float | None:
    values = [row[figure] for row in results.get(title, {}).get(system, []) if figure in row]
    return median(values) if values else None


def _ratio(
    results: Results, title: str, peers: dict[str, str], figure: str = "rate_per_second"
) -> float | None:
    """coord over the better of ``peers`` (system -> the title of what it is compared with), round by round. Better is
    more, or less if that is what is aimed at.
    """
    better = min if figure in LEAST_RATIOS else max
    ours = results.get(title, {}).get("coord", [])
    ratios = []
    for number, row in enumerate(ours):
        theirs = [
            results.get(other, {}).get(system, [])[number : number + 1] for system, other in peers.items()
        ]
        best = better((found[0][figure] for found in theirs if found and figure in found[0]), default=0.0)
        if best and figure in row:
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
    titles = [work.title for work in REQUESTS if work.title in results]
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
    lines += [_row(results, title, title, _peers(title)) for title in titles]
    return "\n".join([*lines, ""])


def _row(results: Results, name: str, title: str, peers: dict[str, str]) -> str:
    """One line of a table of rates and latencies, with the ratio and what is aimed at."""
    cells = []
    for system in SYSTEMS:
        rate = _of(results, title, system, "rate_per_second")
        p50, p99 = (_of(results, title, system, figure) for figure in ("p50_ms", "p99_ms"))
        cells.append("-" if rate is None else f"**{rate:,.0f}** {p50:.2f} / {p99:.1f}")
    aim = BEST_RATIOS.get(title)
    ratio = _cell(_ratio(results, title, peers), ".1f")
    return f"| {name} | {' | '.join(cells)} | {ratio} | {_cell(aim, '.1f') if aim else ''} |"


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
        "| | coord | ZooKeeper | etcd | ratio | aim |",
        "|---|---|---|---|---|---|",
    ]
    lines += [_row(results, title, title, dict.fromkeys(SYSTEMS[1:], title)) for title in titles]
    return "\n".join([*lines, ""])


def _handoffs(results: Results) -> str:
    titles = {
        "by the quickest load that each offers": "handoffs 8x1",
        "by a library for Python: coord's, and kazoo on ZooKeeper": f"{PYTHON_HANDOFFS} 8x1",
    }
    if not any(title in results for title in titles.values()):
        return ""
    lines = [
        "## A contended lock",
        "",
        "Eight sessions want one lock; each gives it up as soon as it has it, and stands in line again. Hand-overs a "
        "second, and p50 / p99 in ms from the call that gives it up until the next one knows that it has it.",
        "",
        "| | coord | ZooKeeper | etcd | ratio | aim |",
        "|---|---|---|---|---|---|",
    ]
    for name, title in titles.items():
        if title in results:
            lines.append(_row(results, name, title, dict.fromkeys(SYSTEMS[1:], title)))
    return "\n".join([*lines, ""])


Lines = tuple[tuple[str, str, str], ...]
"""What is told, the figure's name, and how it is written."""


def _failover(results: Results) -> str:
    what = (
        "`kill -9` of the leader while eight clients write: the longest time in which none was answered. It is a "
        "matter of when a timeout runs out, and differs from kill to kill."
    )
    return _facts(
        results, "failover", "The leader is killed", what, (("longest gap, ms", "longest_gap_ms", ",.0f"),)
    )


def _sessions(results: Results) -> str:
    what = (
        "Each on a connection of its own, kept alive every 10 s. Memory is what members have resident, which for "
        "ZooKeeper is what its collector left standing."
    )
    lines: Lines = (
        ("seconds until all are open", "open_s", ".1f"),
        ("memory of a member for each session, KB", "kb_per_session", ",.1f"),
        ("CPU of the three members, nobody asking for anything, s/s", "cpu_s_per_s", ".3f"),
        ("the same before there were sessions, s/s", "empty_cpu_s_per_s", ".3f"),
        ("set 8x64 before there were sessions, a second", "alone_per_second", ",.0f"),
        ("set 8x64 beside them, a second", "rate_per_second", ",.0f"),
        ("its p50, ms", "p50_ms", ".1f"),
        ("its p99, ms", "p99_ms", ".1f"),
    )
    return _facts(results, "sessions", "Ten thousand sessions", what, lines)


def _million(results: Results) -> str:
    lines: Lines = (
        ("creates a second while it is loaded", "creates_per_second", ",.0f"),
        ("p99.9 of these creates, ms", "p999_ms", ",.0f"),
        ("resident a member, MB", "resident_mb", ",.0f"),
        ("of which an empty one has, MB", "empty_mb", ",.0f"),
        ("set 8x64 then, a second", "sets_per_second", ",.0f"),
        ("sets at half that rate, each when it is due: p99, ms", "half_load_p99_ms", ",.1f"),
        (f"p99.9 of these, ms (aim: below {HALF_LOAD_P999_MS:.0f})", "half_load_p999_ms", ",.1f"),
        ("the longest of these, ms", "half_load_max_ms", ",.0f"),
        ("a follower killed and started again: seconds until it serves", "restart_s", ".1f"),
        ("resident then, MB", "resident_after_mb", ",.0f"),
    )
    return _facts(results, "million", "A million znodes of 100 bytes", "", lines)


def _facts(results: Results, title: str, heading: str, what: str, rows: Lines) -> str:
    """A table of single figures; where less is aimed at, with the ratio."""
    if title not in results:
        return ""
    lines = [f"## {heading}", "", *([what, ""] if what else [])]
    lines += ["| | coord | ZooKeeper | etcd | ratio | aim |", "|---|---|---|---|---|---|"]
    for name, figure, form in rows:
        cells = [_cell(_of(results, title, system, figure), form) for system in SYSTEMS]
        ratio = aim = ""
        if figure in LEAST_RATIOS:
            ratio = _cell(_ratio(results, title, dict.fromkeys(SYSTEMS[1:], title), figure), ".2f")
            aim = f"at most {LEAST_RATIOS[figure]:g}"
        lines.append(f"| {name} | {' | '.join(cells)} | {ratio} | {aim} |")
    return "\n".join([*lines, ""])


def _draw(results: Results, folder: Path) -> list[str]:
    """Bars of the rates, as SVG. Their names."""
    groups = {
        "writes": [work.title for work in REQUESTS if work.op != "get" and work.title in results],
        "reads": [work.title for work in REQUESTS if work.op == "get" and work.title in results],
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
