"""The limit of request bodies, whether the client states a length or sends chunks without end."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine.serve.security.answers import refuse

__all__ = ["BodyLimit"]

PATIENCE_S = 60.0
"""Seconds after which a body is given up if nothing more of it comes."""
CLOSE = {"connection": "close"}


class BodyLimit:
    """Answers 413 to bodies above a size and 408 to bodies that stop in the middle, whatever the route does."""

    def __init__(self, app: ASGIApp, most_bytes: int, patience_s: float = PATIENCE_S) -> None:
        self._app, self._most, self._patience = app, most_bytes, patience_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        stated = Headers(scope=scope).get("content-length", "0")
        if stated.isascii() and stated.isdecimal() and int(stated[:20]) > self._most:
            await refuse(send, 413, "BodyTooLarge", self._words(), CLOSE)
            return
        guarded = _Guarded(receive, send, self._most, self._patience, self._words())
        try:
            await self._app(scope, guarded.receive, guarded.send)
        except Exception:
            # The route was told that the client is gone. What it makes of that is no fault.
            if not guarded.refused:
                raise

    def _words(self) -> str:
        return f"The body is larger than {self._most} bytes. Send a smaller picture, or raise --max-body."


class _Guarded:
    """The two channels of one request, which count the bytes of its body."""

    def __init__(self, receive: Receive, send: Send, most: int, patience: float, words: str) -> None:
        self._receive, self._send, self._left, self._patience, self._words = receive, send, most, patience, words
        self._whole = self._answered = False
        self.refused = False

    async def receive(self) -> Message:
        if self.refused:
            return {"type": "http.disconnect"}
        if self._whole:
            return await self._receive()
        try:
            async with asyncio.timeout(self._patience):
                message = await self._receive()
        except TimeoutError:
            return await self._refuse(408, "BodyTooSlow", "The body did not come to its end.")
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            self._whole = not message.get("more_body", False)
            if self._left < 0:
                return await self._refuse(413, "BodyTooLarge", self._words)
        return message

    async def send(self, message: Message) -> None:
        self._answered = True
        if not self.refused:
            await self._send(message)

    async def _refuse(self, status: int, kind: str, words: str) -> Message:
        self.refused = True
        if not self._answered:
            await refuse(self._send, status, kind, words, CLOSE)
        return {"type": "http.disconnect"}
