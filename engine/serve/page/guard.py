"""What Gradio may answer: the routes that the page needs, and no request to another host."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Sequence
from typing import Any, TypeAlias
from urllib.parse import unquote

from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Guard", "policy"]

Json: TypeAlias = Any
ROUTES = re.compile(
    r"/|/(config|theme\.css|manifest\.json|favicon\.ico|robots\.txt)/?|/(assets|static)/.+"
    r"|/gradio_api/(queue/(join|data)|upload|upload_progress|cancel|reset|startup-events|heartbeat/\w+)/?"
    r"|/gradio_api/file=.+"
)
"""Gradio has more: a proxy, its API, its editor and its run history. The page uses none of them."""
SLASHED = re.compile(r"/(sdapi|v1|internal|queue)/[\w/-]*\w/")
"""A path of the API with a slash at its end, which some clients send."""
REMOTE = re.compile(r"\s*[a-z][a-z0-9+.-]*:", re.IGNORECASE)
"""The start of a URL. Gradio would download it, although the page only takes files that were uploaded."""
FILE = "/gradio_api/file="
INLINE = re.compile(rb"<script(?![^>]*\bsrc=)[^>]*>(.*?)</script>", re.DOTALL | re.IGNORECASE)
MODULE = b'<script type="module"'
"""Before this tag, the page names the files that it needs."""
ALLOWED = (
    "default-src 'none'",
    "style-src 'self' 'unsafe-inline'",
    "img-src 'self' data: blob:",
    "font-src 'self'",
    "media-src 'self'",
    # The brush asks in a worker whether the browser can read a picture of its own.
    "connect-src 'self' data: blob:",
    "worker-src 'self' blob:",
    "manifest-src 'self'",
    "base-uri 'self'",
    "form-action 'self'",
    "frame-ancestors 'none'",
)
FILE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'"
"""Of the files that visitors uploaded: whatever they hold, a browser that opens one runs nothing of it."""
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


def policy(page: bytes = b"") -> str:
    """Return the content security policy of a page: only the scripts that it holds itself may stand in it."""
    hashes = {b64encode(hashlib.sha256(script).digest()).decode() for script in INLINE.findall(page)}
    # The brush draws with pixi.js, which compiles functions.
    scripts = " ".join(["script-src 'self' 'unsafe-eval'", *(f"'sha256-{found}'" for found in sorted(hashes))])
    return "; ".join([*ALLOWED, scripts, "script-src-attr 'none'"])


class Guard:
    """Middleware around Gradio: refuses other routes and files of other hosts, and adds a content security policy."""

    def __init__(self, app: ASGIApp, *, max_body: int, early: Sequence[str] = ()) -> None:
        """max_body: largest number of bytes of an event. Uploads have a limit of their own.

        early: files of the page that a browser should ask for before the page's scripts name them.
        """
        self._app, self._max_body = app, max_body
        self._links = "".join(map(_link, early)).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"].removeprefix(scope.get("root_path", "")) or "/"
        if not ROUTES.fullmatch(path) or _is_remote_file(path):
            await _not_of_the_page(path, scope["query_string"].decode("latin-1"))(scope, receive, send)
            return
        if path.rstrip("/").endswith("/queue/join"):
            body = await _body(receive, self._max_body)
            if body is None or _names_remote_file(body):
                await PlainTextResponse("This event is refused", 422)(scope, receive, send)
                return
            receive = _replay(body, receive)

        if path == "/":
            await self._app(scope, receive, self._page(send))
            return
        own = FILE_POLICY if path.startswith(FILE) else policy()

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                _set_headers(message, own)
            await send(message)

        await self._app(scope, receive, guarded)

    def _page(self, send: Send) -> Send:
        """Return a function that sends the page, with the files that it needs in its head."""
        start: Message = {}
        parts: list[bytes] = []

        async def whole(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
                return
            parts.append(message.get("body", b""))
            if message.get("more_body", False):
                return
            page = b"".join(parts)
            if start["status"] == 200:
                page = page.replace(MODULE, self._links + MODULE, 1)
            _set_headers(start, policy(page))
            MutableHeaders(scope=start)["content-length"] = str(len(page))
            await send(start)
            await send({"type": "http.response.body", "body": page})

        return whole


def _set_headers(message: Message, own_policy: str) -> None:
    headers = MutableHeaders(scope=message)
    for name, value in {**HEADERS, "Content-Security-Policy": own_policy}.items():
        headers[name] = value


def _link(name: str) -> str:
    """Return the tag that makes a browser ask for a script or a style. The names are those of Gradio's package."""
    kind = 'rel="preload" as="style"' if name.endswith(".css") else 'rel="modulepreload"'
    return f'<link {kind} crossorigin href="./assets/{name}">'


def _not_of_the_page(path: str, query: str) -> Response:
    """Return the answer to a path that no part serves, as the API answers it."""
    # The page takes all paths that are left, so that FastAPI no longer redirects these.
    if SLASHED.fullmatch(path):
        return RedirectResponse(path[:-1] + (f"?{query}" if query else ""), 307)
    return JSONResponse({"detail": "Not Found"}, 404)


def _is_remote_file(path: str) -> bool:
    _, found, name = path.partition(FILE)
    return bool(found) and REMOTE.match(unquote(name)) is not None


async def _body(receive: Receive, most: int) -> bytes | None:
    """Return the body of a request, or None if it is too long or the client left."""
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most:
            return None
        more = message.get("more_body", False)
    return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Return a function that gives the body once, and then what the client sends."""
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again


def _names_remote_file(body: bytes) -> bool:
    """Return whether an event holds a file that is named by a URL, or is no JSON."""
    try:
        waiting: list[Json] = [json.loads(body)]
    except (ValueError, RecursionError):
        return True
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            path = value.get("path")
            if isinstance(path, str) and REMOTE.match(path):
                return True
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return False
