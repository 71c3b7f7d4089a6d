"""The middleware: what is let in, what is answered else, and that holds end whatever happens."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from wsgiref.util import setup_testing_defaults
from wsgiref.validate import validator

import anyio
import pytest

from coord.client import DeadlineExceeded, InvalidRequest
from coord.recipes.fencing import (
    FencingASGI,
    FencingWSGI,
    FileHolds,
    Holds,
    MemoryHolds,
    Presented,
    StaleToken,
    Token,
)

both = pytest.mark.parametrize("backend", ["asyncio", "trio"])

Answer = tuple[int, dict[str, str], bytes]


class Kept:
    """Holds that nobody else ends: a hold that is left to the garbage collector would be ended by that."""

    def __init__(self, deadline: float) -> None:
        self.holds = MemoryHolds(deadline=deadline)
        self.kept: list[Any] = []

    def hold(self, name: str, token: Any) -> AbstractContextManager[None]:
        self.kept.append(self.holds.hold(name, token))
        return self.kept[-1]

    @property
    def at_work(self) -> int:
        return self.holds._names["door"].at_work

    @property
    def greatest(self) -> Token | None:
        return self.holds._names["door"].greatest


def wsgi(application: Any, holds: Holds, name: Any = "door") -> Callable[..., Answer]:
    """Requests to it, as a server would make them; both sides are watched for breaches of PEP 3333."""
    guarded = validator(FencingWSGI(application, holds, name))

    def request(method: str = "POST", token: str | None = None, path: str = "/a") -> Answer:
        environ: dict[str, Any] = {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "SCRIPT_NAME": "",
            "QUERY_STRING": "",
        }
        setup_testing_defaults(environ)
        if token is not None:
            environ["HTTP_COORD_FENCING_TOKEN"] = token
        said: list[Any] = []
        answer = guarded(environ, lambda *arguments: said.append(arguments) or (lambda data: None))
        try:
            body = b"".join(answer)
        finally:
            answer.close()
        status, headers, *_ = said[-1]
        return int(status.split()[0]), dict(headers), body

    return request


def asgi(application: Any, holds: Holds, name: Any = "door") -> Callable[..., Awaitable[Answer]]:
    guarded = FencingASGI(application, holds, name)

    async def request(method: str = "POST", token: str | list[str] | None = None, path: str = "/a") -> Answer:
        values = [token] if isinstance(token, str) else token or []
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "headers": [(b"host", b"x"), *((b"coord-fencing-token", each.encode()) for each in values)],
        }
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            return {"type": "http.request", "body": b""}

        await guarded(scope, receive, send)
        headers = {key.decode(): value.decode() for key, value in sent[0]["headers"]}
        return sent[0]["status"], headers, b"".join(each["body"] for each in sent[1:])

    return request


class Application:
    """Answers 200, in both worlds, and writes down what it was asked."""

    def __init__(self, does: Callable[[], None] = lambda: None) -> None:
        self.asked: list[Presented | None] = []
        self.does = does

    def wsgi(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        self.asked.append(environ.get("coord.fencing"))
        start_response("200 OK", [("Content-Type", "text/plain")])
        self.does()
        return [b"done"]

    async def asgi(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked.append(scope.get("coord.fencing"))
        self.does()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})


World = Callable[..., Callable[..., Answer]]


def world_of_asgi(backend: str) -> World:
    def world(application: Application, holds: Holds, name: Any = "door") -> Callable[..., Answer]:
        request = asgi(application.asgi, holds, name)
        return lambda *arguments: anyio.run(request, *arguments, backend=backend)

    return world


WORLDS: dict[str, World] = {
    "wsgi": lambda application, holds, name="door": wsgi(application.wsgi, holds, name),
    "asgi-asyncio": world_of_asgi("asyncio"),
    "asgi-trio": world_of_asgi("trio"),
}
worlds = pytest.mark.parametrize("world", WORLDS)


@worlds
def test_in_and_out(world: str) -> None:
    application = Application()
    request = WORLDS[world](application, MemoryHolds())
    assert request("POST", "1-7")[0] == 200
    assert application.asked == [Presented("door", Token(1, 7))]
    status, headers, body = request("POST", "1-5")
    assert status == 412
    assert {key.lower(): value for key, value in headers.items()} == {
        "content-type": "application/problem+json",
        "content-length": str(len(body)),
    }
    assert json.loads(body) == {
        "title": "The fencing token is stale",
        "status": 412,
        "detail": "stale fencing token 1-5 for 'door': 1-7 has been seen, so the claim was granted anew since",
        "name": "door",
        "presented": "1-5",
        "greatest": "1-7",
    }
    assert request("DELETE", "1-7")[0] == 200  # equal
    assert request("PUT", "2-1")[0] == 200  # greater
    assert request("PATCH", "1-4711")[0] == 412
    assert len(application.asked) == 3


@worlds
@pytest.mark.parametrize("token", ["", "7", "1-7, 1-8", "seven", "0-1", "1-7;x"])
def test_a_malformed_token(world: str, token: str) -> None:
    application = Application()
    status, _, body = WORLDS[world](application, MemoryHolds())("POST", token)
    assert status == 400
    assert (
        "a fencing token is written as incarnation-revision" in json.loads(body)["detail"] or token == "0-1"
    )
    assert application.asked == []


@worlds
def test_no_token(world: str) -> None:
    application = Application()
    status, _, body = WORLDS[world](application, MemoryHolds())("POST")
    assert status == 428
    assert "present the token of your claim, as Coord-Fencing-Token: 1-4711" in json.loads(body)["detail"]
    assert application.asked == []


@both
def test_a_token_that_comes_twice(backend: str) -> None:
    status, _, body = anyio.run(
        asgi(Application().asgi, MemoryHolds()), "POST", ["1-7", "1-8"], backend=backend
    )
    assert (status, json.loads(body)["detail"]) == (
        400,
        "Coord-Fencing-Token came 2 times; one request has one token",
    )


@worlds
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "TRACE"])
def test_what_changes_nothing_needs_no_token(world: str, method: str) -> None:
    application = Application()
    assert WORLDS[world](application, MemoryHolds())(method)[0] == 200
    assert application.asked == [None]


@worlds
def test_the_name_is_told_from_the_request(world: str) -> None:
    def name(scope: Any) -> str | None:
        path = scope.get("path") or scope["PATH_INFO"]
        return None if path == "/open" else path

    application = Application()
    request = WORLDS[world](application, MemoryHolds(), name)
    assert request("POST", "1-7", "/a")[0] == 200
    assert request("POST", "1-5", "/b")[0] == 200
    assert request("POST", "1-5", "/a")[0] == 412
    assert request("POST", None, "/open")[0] == 200
    assert request("POST", "1-7", "/" + "a" * 2000)[0] == 400
    assert application.asked == [Presented("/a", Token(1, 7)), Presented("/b", Token(1, 5)), None]


@worlds
def test_a_guard_at_the_write_has_the_same_answer(world: str) -> None:
    def stale() -> None:
        raise StaleToken("row", Token(1, 7), Token(1, 9))

    request = WORLDS[world](Application(stale), Kept(deadline=0.0))
    status, _, body = request("POST", "1-7")
    assert (status, json.loads(body)["name"], json.loads(body)["greatest"]) == (412, "row", "1-9")
    assert request("POST", "1-8")[0] == 412  # and not 503: the hold has ended


@worlds
@pytest.mark.parametrize("error", [ValueError, InvalidRequest, DeadlineExceeded])
def test_errors_of_the_application_are_its_own(world: str, error: type[Exception]) -> None:
    def fail() -> None:
        raise error("mine")

    application = Application(fail)
    request = WORLDS[world](application, Kept(deadline=0.0))
    with pytest.raises(error, match="mine"):
        request("POST", "1-7")
    application.does = lambda: None
    assert request("POST", "1-8")[0] == 200  # the hold has ended


@worlds
def test_it_remembers_through_restarts(world: str, tmp_path: Path) -> None:
    assert WORLDS[world](Application(), FileHolds(tmp_path))("POST", "1-7")[0] == 200
    assert WORLDS[world](Application(), FileHolds(tmp_path))("POST", "1-5")[0] == 412


@worlds
def test_works_that_have_not_ended(world: str) -> None:
    holds = MemoryHolds(deadline=0.05)
    with holds.hold("door", Token(1, 5)):
        status, headers, body = WORLDS[world](Application(), holds)("POST", "1-7")
    assert status == 503
    assert {key.lower(): value for key, value in headers.items()}["retry-after"] == "1"
    assert "1-7 has to wait" in json.loads(body)["detail"]


def test_a_wsgi_answer_holds_until_it_is_closed() -> None:
    holds = MemoryHolds(deadline=0.0)
    guarded = FencingWSGI(Application().wsgi, holds, "door")
    environ = {"REQUEST_METHOD": "POST", "HTTP_COORD_FENCING_TOKEN": "1-5"}
    answer: Any = guarded(environ, lambda *arguments: None)
    assert list(answer) == [b"done"]
    with pytest.raises(DeadlineExceeded), holds.hold("door", Token(1, 7)):
        pytest.fail("let in")
    answer.close()
    answer.close()  # harmless
    with holds.hold("door", Token(1, 7)):
        pass


@both
def test_requests_of_one_holder_go_side_by_side_and_its_successors_waits(backend: str) -> None:
    async def main() -> None:
        at_work = 0
        story: list[str] = []
        together = anyio.Event()
        go_on = anyio.Event()

        async def application(scope: Any, receive: Any, send: Any) -> None:
            nonlocal at_work
            token = scope["coord.fencing"].token
            at_work += 1
            if token == Token(1, 5):
                if at_work == 3:
                    together.set()
                await go_on.wait()
            at_work -= 1
            story.append(str(token))
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        holds = MemoryHolds()
        request = asgi(application, holds)
        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                for _ in range(3):
                    tasks.start_soon(request, "POST", "1-5")
                await together.wait()
                tasks.start_soon(request, "POST", "1-7")
                while (await request("POST", "1-6"))[0] != 412:  # 1-7 has come, and waits
                    pass
                assert story == []
                go_on.set()
        assert story == ["1-5", "1-5", "1-5", "1-7"]

    anyio.run(main, backend=backend)


@both
def test_a_request_that_is_cancelled_leaves_no_hold(backend: str) -> None:
    """In the application, and while it waits to enter."""

    async def main() -> None:
        holds = Kept(deadline=30.0)
        entered = anyio.Event()

        async def application(scope: Any, receive: Any, send: Any) -> None:
            entered.set()
            await anyio.sleep_forever()

        request = asgi(application, holds)
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(request, "POST", "1-5")
                await entered.wait()
                tasks.cancel_scope.cancel()
            at_work = holds.hold("door", Token(1, 6))
            at_work.__enter__()  # else it would block the event loop for long
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(request, "POST", "1-7")
                while holds.greatest != Token(1, 7):
                    await anyio.sleep(0.001)
                tasks.cancel_scope.cancel()
                at_work.__exit__(None, None, None)
            with holds.hold("door", Token(1, 8)):
                pass
        assert holds.at_work == 0

    anyio.run(main, backend=backend)


def test_a_thread_that_enters_after_its_task_was_cancelled_leaves_again() -> None:
    """asyncio's own cancellation does not wait for threads: 1. a request waits in a thread. 2. Its task is cancelled,
    and gone. 3. The thread is let in, and nobody is there.
    """
    holds = Kept(deadline=30.0)
    first = holds.hold("door", Token(1, 5))
    first.__enter__()

    async def main() -> None:
        request = asyncio.ensure_future(asgi(Application().asgi, holds)("POST", "1-7"))
        while holds.greatest != Token(1, 7):
            await asyncio.sleep(0.001)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        first.__exit__(None, None, None)
        while holds.holds._names["door"].token != Token(1, 7):
            await asyncio.sleep(0.001)

    asyncio.run(main())
    until = time.monotonic() + 10
    while holds.at_work:
        assert time.monotonic() < until, "nobody is there, and the door stays shut"
        time.sleep(0.001)


@both
def test_more_requests_than_threads(backend: str) -> None:
    """1. Every thread for entering waits. 2. Who they wait for still finds one for leaving."""

    async def main() -> None:
        go_on = anyio.Event()
        entered = anyio.Event()
        done: list[Token] = []

        async def application(scope: Any, receive: Any, send: Any) -> None:
            token = scope["coord.fencing"].token
            if token == Token(1, 5):
                entered.set()
                await go_on.wait()
            done.append(token)
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        guarded = FencingASGI(application, MemoryHolds(), "door", waiting_max=2)

        async def request(token: str) -> None:
            scope = {"type": "http", "method": "POST", "headers": [(b"coord-fencing-token", token.encode())]}

            async def nothing(*arguments: Any) -> Any: ...

            await guarded(scope, nothing, nothing)

        with anyio.fail_after(30):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(request, "1-5")
                await entered.wait()
                for _ in range(5):
                    tasks.start_soon(request, "1-7")
                await anyio.sleep(0.05)
                go_on.set()
        assert done == [Token(1, 5), *[Token(1, 7)] * 5]

    anyio.run(main, backend=backend)


def test_one_middleware_in_several_event_loops() -> None:
    """As test clients use it. In each, so many requests at once that they wait for threads."""
    request = asgi(Application().asgi, MemoryHolds())

    async def main() -> None:
        async with anyio.create_task_group() as tasks:
            for _ in range(100):
                tasks.start_soon(request, "POST", "1-7")

    for backend in ("asyncio", "trio", "asyncio", "trio"):
        anyio.run(main, backend=backend)


@both
def test_what_is_no_request_passes(backend: str) -> None:
    seen: list[str] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    async def main() -> None:
        guarded = FencingASGI(application, MemoryHolds(), "door")
        for kind in ("lifespan", "websocket"):
            await guarded({"type": kind, "headers": []}, None, None)  # type: ignore[arg-type]

    anyio.run(main, backend=backend)
    assert seen == ["lifespan", "websocket"]


def test_arguments() -> None:
    application = Application()
    for wrong in ("", None, 7):
        with pytest.raises(InvalidRequest, match="a guarded thing's name"):
            FencingWSGI(application.wsgi, MemoryHolds(), wrong)  # type: ignore[arg-type]
        with pytest.raises(InvalidRequest, match="a guarded thing's name"):
            FencingASGI(application.asgi, MemoryHolds(), wrong)  # type: ignore[arg-type]
    for number in (0, True, 1.0):
        with pytest.raises(InvalidRequest, match="waiting_max"):
            FencingASGI(application.asgi, MemoryHolds(), "door", waiting_max=number)  # type: ignore[arg-type]
