"""Basic authentication (RFC 7617) with a limited number of wrong passwords per client."""

from __future__ import annotations

import base64
import binascii
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

import anyio
import anyio.to_thread
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from engine.serve.security.answers import reject
from engine.serve.security.passwords import Users

__all__ = ["Attempts", "BasicAuth"]

REALM = 'Basic realm="cytosynth", charset="UTF-8"'
WITHOUT_PASSWORD = ("/healthz", "/readyz")
"""Routes that say nothing but whether the server works, for the programs that supervise it."""
LONGEST = 1024
"""Most characters of the header, so that no long text is hashed."""


class Attempts:
    """Counts the wrong passwords of each client: after `most` within `seconds` the client has to wait."""

    def __init__(
        self, most: int = 10, seconds: float = 60.0, clients: int = 10_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """clients: number of clients that are remembered; the one that failed longest ago is forgotten."""
        self._most, self._seconds, self._clients, self._clock = most, seconds, clients, clock
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait_s(self, client: str) -> int:
        """Return how many seconds the client has to wait before its next attempt, rounded up. 0 allows one at once."""
        with self._lock:
            times = self._wrong.get(client)
            if times is None or len(times) < self._most:
                return 0
            left = times[0] + self._seconds - self._clock()
            return 0 if left <= 0 else int(left) + 1

    def was_wrong(self, client: str) -> None:
        """Count a wrong attempt of a client."""
        with self._lock:
            self._wrong.setdefault(client, deque(maxlen=self._most)).append(self._clock())
            self._wrong.move_to_end(client)
            while len(self._wrong) > self._clients:
                self._wrong.popitem(last=False)

    def was_right(self, client: str) -> None:
        """Forget the wrong attempts of a client that gave a right password."""
        with self._lock:
            self._wrong.pop(client, None)


class BasicAuth:
    """Lets requests through that carry the name and password of a user."""

    def __init__(self, app: ASGIApp, users: Users, attempts: Attempts | None = None) -> None:
        self._app, self._users, self._attempts = app, users, attempts or Attempts()
        # The other threads of the server stay free if many clients send passwords that were never seen.
        self._threads = anyio.CapacityLimiter(4)
        self._one = threading.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope.get("path") in WITHOUT_PASSWORD:
            await self._app(scope, receive, send)
            return
        client = scope["client"][0] if scope.get("client") else ""
        given = _credentials(Headers(scope=scope).getlist("authorization"))
        if given is not None and self._users.remembers(*given):
            await self._app(scope, receive, send)
            return
        if given is None:
            await self._ask(scope, send, "Not authenticated")
            return
        wait = await anyio.to_thread.run_sync(self._log_in, client, given, limiter=self._threads)
        if wait is None:
            await self._app(scope, receive, send)
        elif wait:
            detail = f"Too many wrong passwords. Try again in {wait} seconds."
            await reject(scope, send, 429, "TooManyAttempts", detail, {"retry-after": str(wait)})
        else:
            await self._ask(scope, send, "Incorrect username or password")

    def _log_in(self, client: str, given: tuple[str, str]) -> int | None:
        """Return None if the password is right, 0 if it is wrong, or the seconds that the client has to wait.

        One attempt at a time, so that attempts at the same time are limited too.
        """
        with self._one:
            if self._users.remembers(*given):
                return None
            if wait := self._attempts.wait_s(client):
                return wait
            if self._users.check(*given):
                self._attempts.was_right(client)
                return None
            self._attempts.was_wrong(client)
            return 0

    @staticmethod
    async def _ask(scope: Scope, send: Send, detail: str) -> None:
        await reject(scope, send, 401, "HTTPException", detail, {"www-authenticate": REALM})


def _credentials(headers: list[str]) -> tuple[str, str] | None:
    """Return the name and password of an Authorization header, or None if there is none that can be read."""
    if len(headers) != 1 or len(headers[0]) > LONGEST:
        return None
    scheme, _, encoded = headers[0].partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, separator, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return (name, password) if separator else None
