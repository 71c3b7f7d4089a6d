"""The timeline: whole, readable on its own, and bounded."""

import re
from html.parser import HTMLParser

from coord.jepsen_like.checkers.violation import Violation
from coord.jepsen_like.history import Committed, Operation
from coord.jepsen_like.live.drawing import OUTCOMES
from coord.jepsen_like.live.timeline import OPERATIONS_MAX, timeline
from tests.jepsen_like.live.histories import history

VOID = {"meta", "line", "rect", "path", "br"}


class Balanced(HTMLParser):
    """Every tag is closed, in order; keeps what the tips say."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tips: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "title":
            self.tips.append(data)


def parsed(page: str) -> Balanced:
    parser = Balanced()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


def test_shows_operations_faults_leaders_and_rates() -> None:
    page = timeline(history(), [])
    tips = "\n".join(parsed(page).tips)
    for expected in (
        "Set(path='/a', value=b'<&>'",
        "kill -9 of member 2\nat 0.05 s, for 0.07 s",
        "member 3 leads term 2 from 0.10 s on",
        "unknown",
        "latency of what was ok: median",
    ):
        assert expected in tips
    assert "no promise broken" in page
    assert "coord torture --seed 7" in page
    assert all(colour in page for colour in OUTCOMES.values())
    assert all(name in page for name in ("setup", "process 1", "process 2"))


def test_anomalies_lead_to_their_words() -> None:
    records = history()
    place = next(at for at, each in enumerate(records) if isinstance(each, Operation))
    page = timeline(
        records, [Violation("linearizable", "it read <what> never was", (place,)), Violation("x", "y")]
    )
    parsed(page)
    assert page.count('href="#violation-1"') == 1
    assert 'id="violation-1"' in page
    assert 'id="violation-2"' in page
    assert "it read &lt;what&gt; never was" in page
    assert "2 broken promises" in page
    assert f"{place + 1}: 0.000 s  operation" in page, "the record itself, by its line in the file"


def test_an_entry_of_the_log_stands_where_a_client_was_told_of_it() -> None:
    records = [*history(), Committed(7, 7, (), 0), Committed(900, 900, (), 0)]
    page = timeline(records, [Violation("log", "what", (len(records) - 2, len(records) - 1))])
    assert page.count('href="#violation-1"') == 1, "the other one was told to nobody"


def test_needs_nothing_from_elsewhere() -> None:
    page = timeline(history(), [Violation("x", "y", (3,))])
    assert not re.search(r"(?:src|href)\s*=\s*[\"'](?!#)|url\(|@import|<script|<link", page)


def test_is_bounded() -> None:
    few = timeline(history(OPERATIONS_MAX), [])
    many = timeline(history(OPERATIONS_MAX * 5), [])
    assert len(many) < len(few)
    tips = parsed(many).tips
    cells = [re.findall(r"(\d+) (?:ok|refused|unknown)", tip) for tip in tips if tip.startswith("process ")]
    counted = sum(int(number) for numbers in cells for number in numbers)
    assert counted == OPERATIONS_MAX * 5, "what is not drawn is counted"


def test_an_empty_history_is_a_page_too() -> None:
    parsed(timeline([], []))
