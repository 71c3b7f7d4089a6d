"""Guards in front of web applications: requests present a token in a header, and stale ones are refused.

*What it guarantees.* A request that changes something (any method but GET, HEAD, OPTIONS, TRACE) reaches the
application only with a token that is not below one seen for its name, and while it is there, no greater one
is let in: how far that reaches is the matter of the holds (:mod:`coord.recipes.fencing.holds`). An
application that raises :class:`~coord.recipes.fencing.StaleToken` itself, from a guard at the write (and
before it answers), has the same answer made of it.

*What it does not.* It cannot know what a handler leaves behind when it has answered: threads, queues,
requests to others. It takes the name from you, never from the request alone: a stale holder must not choose
what it is compared with. Web sockets pass untouched: their messages have to bring tokens of their own.

*What to do about that.* Where several processes or machines serve one database, check at the write, too:
``SqlGuard.transaction(connection, presented.name, presented.token)``, with ``presented`` as it stands in
``scope["coord.fencing"]`` (ASGI) or ``environ["coord.fencing"]`` (WSGI).

Where tokens have to be signed (``verify=verifier.checking(path)``, see :mod:`coord.recipes.fencing.signed`) the header
has the text of a signed token, and no other is let in. A genuine one can be stale, and is refused like any other.

============================================ ======
the token is below the greatest seen         412
the token is not genuine, or has expired     403
the header is not a token, or comes twice    400
there is no header                           428
works of lower tokens have not ended         503
============================================ ======

The body is JSON as of RFC 9457, with what was wrong, the token presented and the greatest. 412 and not 409:
it is a condition that the request itself brought along, and no retry of the same request can meet it.

>>> from coord.recipes.fencing import FencingWSGI, MemoryHolds
>>> def application(environ, start_response):
...     start_response("204 No Content", [])
...     return []
>>> guarded = FencingWSGI(application, MemoryHolds(), name="printer")
>>> def post(token):
...     environ = {"REQUEST_METHOD": "POST", "HTTP_COORD_FENCING_TOKEN": token}
...     answer = guarded(environ, lambda status, headers, exc_info=None: print(status))
...     getattr(answer, "close", list)()  # as every server does; it ends the hold
>>> post("1-7"), post("1-5"), post("seven")  # doctest: +NORMALIZE_WHITESPACE
204 No Content
412 Precondition Failed
400 Bad Request
(None, None, None)
"""

import json
import logging
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

import anyio
import anyio.to_thread
from anyio.lowlevel import RunVar

from coord.client import CoordError, InvalidRequest, Token
from coord.recipes.fencing.holds import Holds
from coord.recipes.fencing.token import HEADER, NotGenuine, StaleToken, check_name

logger = logging.getLogger("coord.fencing")

SAFE_METHODS: Final = ("GET", "HEAD", "OPTIONS", "TRACE")
KEY: Final = "coord.fencing"
"""Where the application finds what was presented, in its scope or environ."""

Scope = MutableMapping[str, Any]
Name = str | Callable[[Scope], str | None]
"""Of what a request is about to change; or how to tell from its scope (ASGI) or environ (WSGI). ``None``: not
guarded.
"""
Verify = Callable[[str, str], Token]
"""``(text, name)``: the token in a signed text that was presented for ``name``; raises what is wrong with it."""
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApplication = Callable[[Scope, Receive, Send], Awaitable[None]]
StartResponse = Callable[..., Any]
WSGIApplication = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


@dataclass(frozen=True, slots=True)
class Presented:
    """What a request that was let in has presented."""

    name: str
    token: Token


class FencingASGI:
    """An ASGI application in front of ``app``; for Starlette and FastAPI: ``app.add_middleware(FencingASGI,
    holds=…, name=…)``.

    Works under asyncio and trio. Holds are entered in threads; at most ``waiting_max`` requests wait in one
    at the same time, and those after them in the event loop.
    """

    def __init__(
        self,
        app: ASGIApplication,
        holds: Holds,
        name: Name,
        *,
        verify: Verify | None = None,
        waiting_max: int = 64,
    ) -> None:
        self._app = app
        self._verify = verify
        self._holds = holds
        self._name = check_naming(name)
        if isinstance(waiting_max, bool) or not isinstance(waiting_max, int) or waiting_max < 1:
            raise InvalidRequest(f"waiting_max is a whole number from 1, not {waiting_max!r:.40}")
        self._waiting_max = waiting_max
        # Of an event loop each: a test client, say, brings a new one for each of its sessions.
        self._limiters = RunVar[tuple[anyio.CapacityLimiter, anyio.CapacityLimiter]](
            f"coord.fencing-{id(self)}"
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in SAFE_METHODS:
            return await self._app(scope, receive, send)
        name = naming(self._name, scope)
        if name is None:
            return await self._app(scope, receive, send)
        lowered = HEADER.lower().encode()
        try:
            token = token_of(
                [value.decode("latin-1") for key, value in scope["headers"] if key.lower() == lowered],
                name,
                self._verify,
            )
            held = _Held(self._holds.hold(check_name(name), token))
        except CoordError as error:
            return await _refuse(send, error, name)
        entering, leaving = self._threads()
        try:
            try:
                await anyio.to_thread.run_sync(held.enter, limiter=entering)
            except CoordError as error:
                return await _refuse(send, error, name)
            await self._answer({**scope, KEY: Presented(name, token)}, receive, send)
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(held.leave, limiter=leaving)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application's answer, or a refusal where it raises a StaleToken of its own instead of one."""
        started = False

        async def send_on(message: MutableMapping[str, Any]) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, send_on)
        except StaleToken as error:
            if started:
                raise
            await _refuse(send, error, error.name)

    def _threads(self) -> tuple[anyio.CapacityLimiter, anyio.CapacityLimiter]:
        """Those who leave have threads of their own. Else: 1. all threads wait to enter. 2. what they wait
        for has ended, and finds no thread to leave with.
        """
        limiters = self._limiters.get(None)
        if limiters is None:
            limiters = anyio.CapacityLimiter(self._waiting_max), anyio.CapacityLimiter(self._waiting_max)
            self._limiters.set(limiters)
        return limiters


async def _refuse(send: Send, error: CoordError, name: str) -> None:
    refusal = refusal_of(error, name)
    headers = [(key.lower().encode(), value.encode("latin-1")) for key, value in refusal.headers]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": refusal.body})


class _Held:
    """A hold that is left exactly once, whichever thread is first.

    A task may be cancelled while its thread still waits to enter; asyncio's own cancellation does not wait
    for the thread. Then it is the thread that finds nobody there, and leaves at once.
    """

    def __init__(self, hold: AbstractContextManager[None]) -> None:
        self._hold = hold
        self._mutex = threading.Lock()
        self._entered = False
        self._left = False

    def enter(self) -> None:
        self._hold.__enter__()
        with self._mutex:
            self._entered = True
            abandoned = self._left
        if abandoned:
            self._hold.__exit__(None, None, None)

    def leave(self) -> None:
        with self._mutex:
            ours = self._entered and not self._left
            self._left = True
        if ours:
            self._hold.__exit__(None, None, None)


class FencingWSGI:
    """A WSGI application in front of ``app``. A request's hold ends when the server closes its answer."""

    def __init__(
        self, app: WSGIApplication, holds: Holds, name: Name, *, verify: Verify | None = None
    ) -> None:
        self._app = app
        self._verify = verify
        self._holds = holds
        self._name = check_naming(name)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] in SAFE_METHODS:
            return self._app(environ, start_response)
        name = naming(self._name, environ)
        if name is None:
            return self._app(environ, start_response)
        header = environ.get(f"HTTP_{HEADER.upper().replace('-', '_')}")
        try:
            token = token_of([] if header is None else [header], name, self._verify)
            presented = Presented(check_name(name), token)
            held = _Held(self._holds.hold(name, presented.token))
            held.enter()
        except CoordError as error:
            return _refused(start_response, error, name)
        try:
            return _Answer(self._app({**environ, KEY: presented}, start_response), held)
        except StaleToken as error:
            held.leave()
            return _refused(start_response, error, error.name)
        except BaseException:
            held.leave()
            raise


def _refused(start_response: StartResponse, error: CoordError, name: str) -> list[bytes]:
    refusal = refusal_of(error, name)
    status = f"{refusal.status} {HTTPStatus(refusal.status).phrase}"
    # With exc_info: should the application have begun an answer before it raised, this one takes its place.
    start_response(status, refusal.headers, (type(error), error, error.__traceback__))
    return [refusal.body]


class _Answer:
    """The application's answer, which ends its hold when it is closed, as the server has to (PEP 3333)."""

    def __init__(self, parts: Iterable[bytes], held: _Held) -> None:
        self._parts = parts
        self._held = held

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._parts)

    def close(self) -> None:
        try:
            close = getattr(self._parts, "close", None)
            if close is not None:
                close()
        finally:
            self._held.leave()


# --- what both have in common ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Refusal:
    status: int
    headers: list[tuple[str, str]]
    body: bytes


class TokenMissing(InvalidRequest):
    """A request that changes something has to present a token, and did not."""


def token_of(values: list[str], name: str, verify: Verify | None) -> Token:
    """The token of a request with these values of the header.

    Raises :class:`InvalidRequest` or :class:`NotGenuine` (refused).
    """
    if not values:
        raise TokenMissing(
            f"this changes something that is fenced: present the token of your claim, as {HEADER}: 1-4711"
        )
    if len(values) > 1:
        raise InvalidRequest(f"{HEADER} came {len(values)} times; one request has one token")
    text = values[0].strip()
    return Token.parse(text) if verify is None else verify(text, name)


def refusal_of(error: CoordError, name: str) -> Refusal:
    """The answer that says ``error``, which a guard has raised: it did not happen."""
    facts: dict[str, object] = {"name": name}
    if isinstance(error, StaleToken):
        status, title = 412, "The fencing token is stale"
        facts |= {"presented": str(error.presented), "greatest": str(error.greatest)}
        logger.warning("refused a write: %s", error)  # somebody believes to hold what is another's
    elif isinstance(error, NotGenuine):
        status, title = 403, "The fencing token is not genuine"
        logger.warning("refused a write: %s", error)
    elif isinstance(error, TokenMissing):
        status, title = 428, "A fencing token is required"
    elif isinstance(error, InvalidRequest):
        status, title = 400, "The fencing token is malformed"
    else:
        status, title = 503, "The guard cannot let it in for now"
        logger.warning("refused a write for now: %s", error)
    body = json.dumps({"title": title, "status": status, "detail": str(error), **facts}).encode()
    headers = [("Content-Type", "application/problem+json"), ("Content-Length", str(len(body)))]
    if status == 503:
        headers.append(("Retry-After", "1"))
    return Refusal(status, headers, body)


def check_naming(name: Name) -> Name:
    if callable(name):
        return name
    return check_name(name)


def naming(name: Name, scope: Scope) -> str | None:
    if not callable(name):
        return name
    return name(scope)
