"""What a worker says that nothing would ever happen in."""

from coord.recipes.queue import App
from coord.recipes.queue.worker.hints import hints


def shop() -> App:
    app = App("shop")

    @app.task(queue="mail")
    async def send() -> None: ...

    @app.task(queue="models", needs={"gpu", "big"})
    async def train() -> None: ...

    return app


def test_nothing_where_all_is_as_it_is_mostly_meant() -> None:
    assert hints(shop(), ["mail"], []) == []
    assert hints(shop(), ["models"], {"gpu", "big"}) == []


def test_a_queue_that_no_task_is_of() -> None:
    (said,) = hints(shop(), ["default", "mail"], [])
    assert "no task of the app shop is of the queue default, unless a call says so" in said
    assert said.endswith("they are of mail, models")
    (said,) = hints(App("shop"), ["default"], [])
    assert "has no tasks" in said


def test_a_capability_that_is_missing() -> None:
    assert hints(shop(), ["models"], {"big"}) == ["train is left to others: it needs gpu"]
