"""An app for tests."""

from coord.recipes.queue import App, Retry

app = App("shop", max_length=50)


@app.task(queue="mail")
async def send(to: str, body: str = "") -> int:
    return len(body)


@app.task
def double(number: int, more: int = 0) -> int:
    return 2 * number + more


@app.task
def total(numbers: list[int | None]) -> int:
    return sum(each or 0 for each in numbers)


@app.task(keep=0, retry=Retry(times=0))
def forget() -> None:
    return None
