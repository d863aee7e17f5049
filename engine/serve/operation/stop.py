"""The stop of the server: no new work is taken, running work is finished or checkpointed, then the process ends."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from engine.serve.operation.logs import log
from engine.serve.security.answers import SAFE_METHODS, refuse

__all__ = ["GracefulServer", "RefuseWork", "Stop"]

GRACE_S = 20.0
"""Seconds that running requests have to end by themselves. Then they end with the pictures that are finished."""
RETRY = {"retry-after": "30", "connection": "close"}


class Stop:
    """Whether the server stops, and who must know of it."""

    def __init__(self, grace_s: float = GRACE_S) -> None:
        self._grace_s = grace_s
        self._begun = threading.Event()
        self._at_once: list[Callable[[], None]] = []
        self._after_grace: list[Callable[[], None]] = []
        self._timer: threading.Timer | None = None

    @property
    def begun(self) -> bool:
        """Whether the server stops."""
        return self._begun.is_set()

    def call_at_once(self, function: Callable[[], None]) -> None:
        """Call a function as soon as the server stops. It must return at once: a signal handler calls it."""
        self._at_once.append(function)

    def call_after_grace(self, function: Callable[[], None]) -> None:
        """Call a function if the server still runs some time after it began to stop."""
        self._after_grace.append(function)

    def begin(self) -> None:
        """Stop. Further calls change nothing."""
        if self._begun.is_set():
            return
        self._begun.set()
        for function in self._at_once:
            function()
        self._timer = threading.Timer(self._grace_s, self._end_grace)
        self._timer.daemon = True
        self._timer.start()

    def ended(self) -> None:
        """Say that everything has ended, so that nothing is called any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _end_grace(self) -> None:
        for function in self._after_grace:
            function()


class RefuseWork:
    """Answers 503 to requests that would begin new work while the server stops."""

    def __init__(self, app: ASGIApp, stop: Stop) -> None:
        self._app, self._stop = app, stop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._stop.begun and scope["type"] == "http" and scope["method"] not in SAFE_METHODS:
            await refuse(send, 503, "Stopping", "The server stops. Try again when it has started again.", RETRY)
            return
        await self._app(scope, receive, send)


class GracefulServer(uvicorn.Server):
    """A server that tells `stop` of the signals SIGINT and SIGTERM, before uvicorn waits for the open connections."""

    def __init__(self, config: uvicorn.Config, stop: Stop) -> None:
        super().__init__(config)
        self._stop = stop

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle a signal. A second Ctrl-C waits for nothing more.

        uvicorn would raise the signal again at the end, so that a stop that was asked for would look like a failure.
        """
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True
        self._stop.begin()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wait for what runs, and end."""
        log("stopping")
        self._stop.begin()
        await super().shutdown(sockets)
        self._stop.ended()
        log("stopped")
