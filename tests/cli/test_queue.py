"""``coord queue …`` against a real member."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest
from typer.testing import CliRunner

from coord.cli.app import build
from coord.cli.exits import CONFLICT, FAILED, NOT_FOUND, UNAVAILABLE, USAGE
from coord.cli.queue_top import BARS, WIDTH, Series, sparkline
from coord.client import connect
from coord.recipes.queue import App, Queue, Retry, chain, cron
from coord.recipes.queue.facts import QueueFacts
from coord.recipes.queue.schedules import Scheduler
from coord.recipes.queue.worker import Worker
from coord.testing import Cluster, cluster

APP = build()
Coord = Callable[..., str]

app = App("shop")


@app.task
async def add(a: int, b: int = 1) -> int:
    return a + b


@app.task(retry=Retry(times=0))
async def fail(why: str) -> None:
    raise OSError(why)


app.schedule("nightly", cron("0 3 * * *", tz="Europe/Berlin"), add.call(1))


@pytest.fixture(scope="module")
def member() -> Iterator[Cluster]:
    with cluster(1) as made:
        yield made


@pytest.fixture
def coord(member: Cluster) -> Coord:
    def run(*arguments: str, code: int = 0, input: str | None = None) -> str:
        environment = {"COORD_ENDPOINTS": member.endpoints[0], "COLUMNS": "300"}
        result = CliRunner().invoke(APP, ["queue", *arguments], env=environment, input=input)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert result.exit_code == code, result.output
        return str(result.output)

    return run


@pytest.fixture(scope="module")
def ids(member: Cluster) -> dict[str, str]:
    """A queue as it is after some time: one of each."""

    async def main() -> dict[str, str]:
        async with connect(member.endpoints) as client:
            queue = Queue(client, app)
            done = await queue.enqueue(add.call(1).with_(keep=3600))
            dead = await queue.enqueue(fail.call("no luck"))
            await Worker(client, app).serve_until_drained()
            with anyio.move_on_after(1.0):
                await Scheduler(queue, by="w").run()
            waits = await queue.enqueue(add.call(2).with_(unique="the key"))
            delayed = await queue.enqueue(add.call(3).with_(delay=3600))
            chained = await queue.enqueue(
                chain(add.call(4).with_(queue="mail"), add.call().with_(queue="mail"))
            )
            found = {"done": done, "dead": dead, "waits": waits, "delayed": delayed, "chained": chained}
            return {name: task.id for name, task in found.items()}

    return anyio.run(main, backend="trio")


def rows(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


def test_the_list(coord: Coord, ids: dict[str, str]) -> None:
    default, mail = rows(coord("list", "--json"))
    assert (default["queue"], mail["queue"]) == ("default", "mail")
    assert (default["waiting"], default["delayed"], default["done"], default["dead"]) == (1, 1, 2, 1)
    assert (default["enqueued"], default["ended"]) == (4, 2)
    assert mail["needs"] == [[]]
    text = coord("list", "--rates", "0.1")
    assert text.splitlines()[0].split()[:3] == ["queue", "waiting", "delayed"]
    assert "in/s" in text


def test_tasks(coord: Coord, ids: dict[str, str]) -> None:
    found = rows(coord("tasks", "default", "--json"))
    assert [(each["id"], each["status"]) for each in found] == [
        (ids["waits"], "waiting"),
        (ids["delayed"], "delayed"),
    ]
    assert found[0]["arguments"] == {"a": 2}
    assert rows(coord("tasks", "default", "--status", "succeeded", "--json"))[0]["result"] == 2
    assert [each["id"] for each in rows(coord("tasks", "default", "--key", "the key", "--json"))] == [
        ids["waits"]
    ]
    assert "in 60 min" in coord("tasks", "default") or "in 59 min" in coord("tasks", "default")
    assert "no task" in coord("tasks", "default", "--key", "another", code=NOT_FOUND)
    assert "there is no queue" in coord("tasks", "nothing", code=NOT_FOUND)


def test_one_task_and_its_result(coord: Coord, ids: dict[str, str]) -> None:
    text = coord("show", ids["dead"])
    assert "status     failed" in text
    assert "OSError: no luck" in text
    assert "Traceback" in text
    whole = json.loads(coord("show", ids["dead"], "--json"))
    assert whole["failure"]["message"] == "no luck"
    assert whole["arguments"] == {"why": "no luck"}
    assert "begins in" in coord("show", ids["delayed"])
    assert "awaiting" in coord("show", ids["chained"], "--queue", "mail")
    assert coord("result", ids["done"]) == "2\n"
    assert "failed: OSError: no luck" in coord("result", ids["dead"], code=CONFLICT)
    assert "has not ended" in coord("result", ids["delayed"], code=UNAVAILABLE)
    assert "has not ended" in coord("result", ids["delayed"], "--wait", "0.1", code=UNAVAILABLE)
    assert "looks like" in coord("show", "x", code=USAGE)
    assert "there is no task" in coord("show", ids["done"], "--queue", "mail", code=FAILED)


def test_schedules(coord: Coord, ids: dict[str, str]) -> None:
    [found] = rows(coord("schedules", "--json"))
    assert (found["schedule"], found["when"]) == ("nightly", {"cron": "0 3 * * *", "tz": "Europe/Berlin"})
    assert found["next_ms"] > found["last_ms"] if found["last_ms"] else found["next_ms"]
    assert "0 3 * * * (Europe/Berlin)" in coord("schedules")
    coord("schedules", "--pause", "nightly")
    assert "paused" in coord("schedules")
    coord("schedules", "--resume", "nightly")
    assert "no schedule 'weekly'" in coord("schedules", "--remove", "weekly", code=NOT_FOUND)
    coord("schedules", "--remove", "nightly", "--pause", "nightly", code=USAGE)


def test_steering(coord: Coord, ids: dict[str, str]) -> None:
    coord("pause", "mail")
    assert rows(coord("list", "--json"))[1]["paused"]
    coord("resume", "mail")
    coord("drain", "mail", "--no-wait")
    assert "closed" in coord("list")
    assert "was not empty in time" in coord("drain", "mail", "--deadline", "0.1", code=UNAVAILABLE)
    coord("open", "mail")
    assert json.loads(coord("purge", "mail", "--yes", "--json")) == {"count": 2}
    coord("drain", "mail")  # empty: at once
    assert "Aborted" in coord("purge", "mail", code=1, input="n\n")
    assert "waits for a worker" in coord("retry", ids["delayed"])
    assert "is cancelled" in coord("cancel", ids["delayed"])
    assert "ended already" in coord("cancel", ids["delayed"], code=CONFLICT)
    assert ids["dead"] in coord("dead", "default")
    assert "1 wait again" in coord("dead", "default", "--requeue")
    assert rows(coord("dead", "default", "--json")) == []
    assert "0 deleted" in coord("dead", "default", "--forget", "--yes")
    coord("dead", "default", "--forget", "--requeue", code=USAGE)
    for command in (["pause"], ["resume"], ["drain"], ["open"], ["purge", "--yes"], ["dead", "--requeue"]):
        assert "there is no queue 'nothing'" in coord(*command, "nothing", code=NOT_FOUND)


def test_each_says_what_it_has_done_also_to_programs(coord: Coord, ids: dict[str, str]) -> None:
    def told(*arguments: str) -> dict[str, Any]:
        return dict(json.loads(coord(*arguments, "--json")))

    assert told("pause", "mail") == {"queue": "mail", "paused": True}
    assert told("resume", "mail") == {"queue": "mail", "paused": False}
    assert told("drain", "mail") == {"queue": "mail", "closed": True, "empty": True}
    assert told("drain", "mail", "--no-wait") == {"queue": "mail", "closed": True, "empty": None}
    assert told("open", "mail") == {"queue": "mail", "closed": False}
    assert told("schedules", "--pause", "nightly") == {"schedule": "nightly", "paused": True}
    assert told("schedules", "--resume", "nightly") == {"schedule": "nightly", "paused": False}
    assert coord("pause", "mail") == "mail is paused\n"
    assert coord("resume", "mail") == "mail goes on\n"


def test_workers_and_top(coord: Coord, ids: dict[str, str]) -> None:
    assert coord("workers", "--json") == ""
    assert "default" in coord("top", "--count", "2", "--every", "0.2")


def test_which_app(coord: Coord, member: Cluster, ids: dict[str, str]) -> None:
    assert "shop" not in coord("list", "--app", "/tasks/shop")
    assert "there is no app at /tasks/another; below /tasks there is shop" in coord(
        "list", "--app", "another", code=NOT_FOUND
    )

    async def make_another() -> None:
        async with connect(member.endpoints) as client:
            await client.create("/tasks/z/queues", parents=True)

    anyio.run(make_another, backend="trio")
    assert "which app? Below /tasks there are shop, z" in coord("list", code=USAGE)


# --- what top remembers ----------------------------------------------------------------------------------------------


def facts(enqueued: int, ended: int) -> QueueFacts:
    return QueueFacts("mail", enqueued - ended, 0, 0, 0, 0, 0, enqueued, ended, None, False, False, ("-",))


def test_rates_are_of_the_last_two_looks() -> None:
    series = Series()
    series.add(0.0, [facts(0, 0)])
    assert series.rates("mail") == (0.0, 0.0)
    series.add(2.0, [facts(10, 4)])
    assert series.rates("mail") == (5.0, 2.0)
    for look in range(100):
        series.add(3.0 + look, [facts(10 + look, 4 + look)])
    assert len(series.ended("mail")) == len(series.length("mail")) == WIDTH
    series.add(200.0, [])
    assert series.length("mail") == ""


def test_a_sparkline_reaches_from_the_lowest_to_the_highest() -> None:
    assert sparkline([]) == ""
    assert sparkline([0, 0]) == BARS[0] * 2
    assert sparkline([0, 1, 4, 8]) == BARS[0] + BARS[1] + BARS[4] + BARS[7]
