"""The example in the description of the package does what it says."""

import re
from textwrap import dedent

import pytest

import coord.client.blocking
from tests.client.blocking.home import home


class EnoughError(Exception):
    """The example's loop over events has no end."""


def test_the_example() -> None:
    text = coord.client.blocking.__doc__ or ""
    example = dedent(text[text.index("    from coord") : text.index("\nThe names")])
    first, opened, second = example.partition("client = connect")
    lines: list[tuple[object, ...]] = []

    def show(*values: object) -> None:
        lines.append(values)
        if len(values) == 3:
            raise EnoughError

    with home() as at, coord.client.blocking.connect(at.endpoints) as other:
        where = {"print": show, "touch": lambda: other.set("/config/colour", b"green")}

        def run(code: str) -> None:
            for endpoints in ('"127.0.0.1:4711,127.0.0.1:4712"', '"127.0.0.1:4711"'):
                code = code.replace(endpoints, repr(at.endpoints))
            code = re.sub("( +)(for event in events:)", r"\1touch()\n\1\2", code)
            exec(compile(code, "the example", "exec"), where)

        with pytest.raises(EnoughError):
            run(first)
        run(opened + second)
        assert lines[0][1:] == ("/config/colour", b"green")
        assert "green" in str(lines[1])
        assert other.get("/config/colour").value == b"GREEN"
        assert at.sessions == 1
