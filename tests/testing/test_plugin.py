"""The fixtures, as the tests of somebody's program have them: in all three worlds, found without being asked for."""

import re
from pathlib import Path

import pytest

# pytester forgets, after each run in this process, what that run imported first. What is imported here stays one thing.
import coord.client
import coord.testing.hosting  # noqa: F401

pytest_plugins = ["pytester"]

README = Path(__file__).parents[2] / "coord" / "testing" / "README.md"

FOUND = ("-p", "no:cacheprovider")


def passes(pytester: pytest.Pytester, code: str, *arguments: str, count: int = 1) -> None:
    pytester.makepyfile(code)
    pytester.makepyprojecttoml("[tool.pytest.ini_options]\nfilterwarnings = ['error']")
    pytester.runpytest_inprocess(*FOUND, *arguments).assert_outcomes(passed=count)


def test_threads(pytester: pytest.Pytester) -> None:
    passes(
        pytester,
        """
        import socket
        import threading

        def test_member(coord_member):
            host, port = coord_member.endpoints[0].split(":")
            socket.create_connection((host, int(port))).close()
            coord_member.restart()

        def test_cluster(coord_cluster):
            first = coord_cluster.leader()
            killer = threading.Thread(target=coord_cluster.kill, args=(first,))
            killer.start()
            killer.join()
            assert coord_cluster.wait_leader() != first

        def test_factory(coord_cluster_factory):
            two, five = coord_cluster_factory(2), coord_cluster_factory(members=5, limits={"list_page": 3})
            assert (len(two.endpoints), len(five.endpoints)) == (2, 5)
        """,
        count=3,
    )


ASYNC = """
    import pytest
    from coord.client import connect

    {mark}
    async def test_cluster({arguments}coord_cluster):
        async with connect(coord_cluster.endpoints, session_timeout=2) as client:
            await client.set("/a", b"1", create=True)
            coord_cluster.pause(client.member)
            assert (await client.get("/a")).value == b"1"
            assert coord_cluster.member(client.member).paused is False
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_asyncio_and_trio_by_anyio(pytester: pytest.Pytester, backend: str) -> None:
    mark = f"@pytest.mark.anyio\n    @pytest.mark.parametrize('anyio_backend', ['{backend}'])"
    passes(pytester, ASYNC.format(mark=mark, arguments="anyio_backend, "))


def test_pytest_trio(pytester: pytest.Pytester) -> None:
    passes(pytester, ASYNC.format(mark="@pytest.mark.trio", arguments=""))


def test_what_the_members_did_is_shown_when_a_test_fails(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_fails(coord_cluster):
            coord_cluster.kill(2)
            assert False
        """
    )
    result = pytester.runpytest_inprocess(*FOUND)
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines_random(
        [
            "*coord.testing.member-1*member 1 serves clients on 127.0.0.1:*",
            "*coord.testing.member-?*leads in term*",
        ]
    )
    result.stdout.fnmatch_lines(["*<coord cluster: *<member 2 at 127.0.0.1:*, stopped>*"])


def test_a_member_that_fails_fails_the_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import anyio
        import pytest
        from coord.client import CoordError, connect
        from coord.disk.errors import SyncFailed
        from coord.disk.storage import Storage

        def fail(self, persist):
            raise SyncFailed("the disk is gone")

        def test_it(coord_member, monkeypatch):
            async def main():
                async with connect(coord_member.endpoints, session_timeout=0.5) as client:
                    monkeypatch.setattr(Storage, "append", fail)
                    with pytest.raises(CoordError):
                        await client.set("/a", b"", create=True)
            anyio.run(main)
        """
    )
    result = pytester.runpytest_inprocess(*FOUND)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["*SyncFailed: the disk is gone", "*member 1 of the cluster under test was ended by this"]
    )


def test_it_costs_nothing_where_it_is_not_used(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_nothing_of_it_is_imported():
            ours = {name for name in sys.modules if name.split(".")[0] == "coord"}
            assert ours == {"coord", "coord.testing", "coord.testing.plugin"}
        """
    )
    pytester.runpytest_subprocess(*FOUND).assert_outcomes(passed=1)


def test_the_examples_of_the_readme(pytester: pytest.Pytester) -> None:
    examples = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert len(examples) >= 5
    for number, example in enumerate(examples):
        pytester.makepyfile(**{f"test_example_{number}": example})
    result = pytester.runpytest_inprocess(*FOUND)
    outcomes = result.parseoutcomes()
    assert set(outcomes) == {"passed"}
    assert outcomes["passed"] >= len(examples)
