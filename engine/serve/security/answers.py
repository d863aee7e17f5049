"""Short answers that the server gives before a request reaches its route, in the shape of the WebUI's errors."""

from __future__ import annotations

import json
from collections.abc import Mapping

from starlette.types import Scope, Send

__all__ = ["SAFE_METHODS", "refuse", "reject"]

SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing."""


async def refuse(send: Send, status: int, kind: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
    """Send an error as JSON and end the response.

    status: the HTTP status. kind: a short name of the error, for programs. detail: what was wrong and how to fix it.
    """
    body = json.dumps({"error": kind, "detail": detail, "body": "", "errors": ""}).encode()
    plain = {"content-type": "application/json", "content-length": str(len(body)), "cache-control": "no-store"}
    sent = [(name.encode(), value.encode()) for name, value in {**plain, **(headers or {})}.items()]
    await send({"type": "http.response.start", "status": status, "headers": sent})
    await send({"type": "http.response.body", "body": body})


async def reject(
    scope: Scope, send: Send, status: int, kind: str, detail: str, headers: Mapping[str, str] | None = None
) -> None:
    """Refuse a request, or close a web socket. The arguments are those of `refuse`."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})
        return
    await refuse(send, status, kind, detail, headers)
