"""Checks of the headers Host and Origin, against DNS rebinding and posts from the pages of other sites.

A page of another site can make the browser of a user send requests to this server. If the site's own name resolves to
this machine (DNS rebinding), the header Host names the site. Otherwise the header Origin does.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from engine.errors import RequestError
from engine.serve.security.answers import SAFE_METHODS, reject

__all__ = ["ANY", "HostCheck", "OriginCheck", "ServedNames", "is_loopback", "parse_origins", "served_names"]

ANY = "*"
HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(\d{1,5}))?", re.ASCII)
PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


@dataclass(frozen=True)
class ServedNames:
    """The names by which clients may call this server."""

    names: frozenset[str]
    every_address: bool
    """Whether any IP address may be used. A name that resolves to this machine would be a name, not an address."""

    def __contains__(self, name: str) -> bool:
        return name in self.names or (_address(name) is not None and (self.every_address or is_loopback(name)))


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach a server on this address."""
    address = _address(host)
    return host.lower() == "localhost" or (address is not None and address.is_loopback)


def served_names(host: str, further: Sequence[str] = ()) -> ServedNames:
    """Return the names of a server that listens on `host`. further: other names, such as that of a proxy."""
    names = {"localhost", _plain(host), *map(_plain, further)}
    address = _address(host)
    every = address is not None and address.is_unspecified
    if every:
        names |= {_plain(socket.gethostname()), _plain(socket.getfqdn())}
    return ServedNames(frozenset(names), every)


def parse_origins(origins: Sequence[str]) -> tuple[str, ...]:
    """Return the origins as browsers send them, without a slash at the end. Raises RequestError."""
    return tuple(ANY if text == ANY else _origin(text) for text in origins)


def _origin(text: str) -> str:
    parts = urlsplit(text)
    try:
        whole = parts.scheme and parts.netloc and parts.path in ("", "/") and not (parts.query or parts.fragment)
        port = parts.port
    except ValueError:
        whole, port = "", None
    if not whole or parts.username is not None:
        raise RequestError(
            "--cors",
            found=text[:80],
            expected="an origin: scheme, name and, if needed, port",
            fix="write, for example, https://lite.koboldai.net or http://localhost:3000",
        )
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    usual = port is None or PORTS.get(parts.scheme) == port
    return f"{parts.scheme}://{host}" if usual else f"{parts.scheme}://{host}:{port}"


class HostCheck:
    """Lets requests through whose header Host is a name of this server."""

    def __init__(self, app: ASGIApp, names: ServedNames) -> None:
        self._app, self._names = app, names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        found = Headers(scope=scope).getlist("host")
        match = HOST.fullmatch(found[0]) if len(found) == 1 else None
        if match is None or _plain(match[1]) not in self._names:
            detail = "The header Host is no name of this server. Add the name with --served-as."
            await reject(scope, send, 421 if match else 400, "WrongHost", detail)
            return
        await self._app(scope, receive, send)


class OriginCheck:
    """Lets requests through that come from the server's own page, from an allowed origin, or from no page at all."""

    def __init__(self, app: ASGIApp, origins: Sequence[str]) -> None:
        """origins: what `parse_origins` returned."""
        self._app, self._origins = app, frozenset(origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or ANY in self._origins or self._allowed(scope):
            await self._app(scope, receive, send)
            return
        detail = "A page of another site may not use this server. Allow its origin with --cors."
        await reject(scope, send, 403, "WrongOrigin", detail)

    def _allowed(self, scope: Scope) -> bool:
        headers = Headers(scope=scope)
        origins = headers.getlist("origin")
        if origins:
            return len(origins) == 1 and (origins[0] in self._origins or _same(origins[0], headers.get("host", "")))
        # Browsers send an Origin with every post. A link from another site to the page is a safe navigation.
        site = headers.get("sec-fetch-site", "none")
        return site in ("none", "same-origin") or scope.get("method") in SAFE_METHODS


def _same(origin: str, host: str) -> bool:
    """Return whether an origin is this server, as the client calls it. A proxy may have made https of it."""
    parts = urlsplit(origin)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return False
    usual = str(PORTS[parts.scheme])
    name, port = _split(parts.netloc)
    named, on = _split(host)
    return (name, port or usual) == (named, on or usual)


def _split(netloc: str) -> tuple[str, str]:
    match = HOST.fullmatch(netloc)
    return (_plain(match[1]), match[2] or "") if match else ("", "-")


def _plain(name: str) -> str:
    """Return a name as names are compared: lower case, no dot at the end, addresses without brackets."""
    return name.strip("[]").lower().removesuffix(".")


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return None
