"""Every request has an id, a line in the log and a count in the metrics."""

from __future__ import annotations

import logging
import re
import time
from typing import Any

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine.serve.operation.logs import REQUEST_ID, log, new_request_id
from engine.serve.operation.metrics import CONTENT_TYPE_LATEST, Metrics

__all__ = ["Observed", "add_metrics", "observe"]

PLAIN_PATH = re.compile(r"/[A-Za-z0-9/._-]{0,127}", re.ASCII)
"""A path that is logged. Others may hold the names of files."""
QUIET = ("/healthz", "/readyz", "/metrics", "/internal/ping")
"""Routes that programs ask every few seconds. They are logged only if they fail."""
OTHER = "other"


class Observed:
    """Gives each request an id, and logs and counts its answer."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = new_request_id(Headers(scope=scope).get("x-request-id"))
        token, answer, began = REQUEST_ID.set(request_id), {"status": 0, "bytes": 0}, time.perf_counter()

        async def tagged(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer["status"] = message["status"]
                MutableHeaders(scope=message)["x-request-id"] = request_id
            elif message["type"] == "http.response.body":
                answer["bytes"] += len(message.get("body", b""))
            await send(message)

        error: Exception | None = None
        self._metrics.active.inc()
        try:
            await self._app(scope, receive, tagged)
        except Exception as caught:
            error = caught
            raise
        finally:
            self._metrics.active.dec()
            status = 500 if error is not None else answer["status"]
            self._report(scope, status, answer["bytes"], time.perf_counter() - began, error)
            REQUEST_ID.reset(token)

    def _report(self, scope: Scope, status: int, size: int, seconds: float, error: Exception | None) -> None:
        route = _route(scope)
        # A client that went away got no status. nginx counts these as 499.
        self._metrics.count(scope["method"], route, status or 499, seconds)
        if route in QUIET and error is None and status < 400:
            return
        fields: dict[str, Any] = {"method": scope["method"][:16], "route": route}
        if PLAIN_PATH.fullmatch(scope["path"]):
            fields["path"] = scope["path"]
        fields |= {"status": status or 499, "bytes": size, "ms": round(1000 * seconds, 1)}
        log("request", level=logging.ERROR if status >= 500 else logging.INFO, error=error, **fields)


def _route(scope: Scope) -> str:
    """Return the pattern of the route that answered, such as /v1/jobs/{job_id}."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) and path else scope["path"] if scope["path"] in QUIET else OTHER


def add_metrics(app: Starlette, metrics: Metrics) -> None:
    """Add the route /metrics."""

    async def show(_: Request) -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    app.router.add_route("/metrics", show, ["GET"], include_in_schema=False)


def observe(app: Starlette, metrics: Metrics) -> None:
    """Observe all requests of an application. Call it last, so that refused requests are seen too."""
    app.add_middleware(Observed, metrics=metrics)
