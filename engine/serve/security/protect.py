"""All checks of a request before it reaches the application, from the outside to the inside."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware

from engine.errors import RequestError
from engine.serve.security.auth import BasicAuth
from engine.serve.security.limits import BodyLimit
from engine.serve.security.origin import ANY, HostCheck, OriginCheck, is_loopback, parse_origins, served_names
from engine.serve.security.passwords import Users, read_users
from engine.serve.settings import ServeSettings

__all__ = ["expect_safe", "protect"]

MEGABYTE = 2**20


def expect_safe(settings: ServeSettings) -> Users | None:
    """Return the users that may log in, or None if no password is needed. Raises RequestError for unsafe settings."""
    parse_origins(settings.cors or ())
    if settings.auth is not None:
        if settings.no_auth:
            raise RequestError(
                "--no-auth", found=f"--auth {settings.auth}", expected="one of them", fix="leave one of them out"
            )
        return read_users(settings.auth)
    if not settings.no_auth and not is_loopback(settings.host):
        raise RequestError(
            f"--host {settings.host}",
            found="an address that other machines can reach, and no passwords",
            expected="--auth FILE, or --no-auth if everyone who reaches this address may use the server",
            fix="make passwords with `engine serve --hash-password NAME > FILE`, and add --auth FILE",
        )
    return None


def protect(app: Starlette, settings: ServeSettings) -> None:
    """Add the checks to an application. Call it after every other middleware was added. Raises RequestError.

    From the outside to the inside: the name of the server, the answer to preflights, the origin, the password, and the
    length of the body. A preflight carries no password, and a browser shows a page only errors with CORS headers.
    """
    users, origins = expect_safe(settings), parse_origins(settings.cors or ())
    app.add_middleware(BodyLimit, most_bytes=settings.limits.max_body * MEGABYTE)
    if users is not None:
        app.add_middleware(BasicAuth, users=users)
    app.add_middleware(OriginCheck, origins=origins)
    if origins:
        _allow_pages(app, origins)
    app.add_middleware(HostCheck, names=served_names(settings.host, settings.served_as or ()))


def _allow_pages(app: Starlette, origins: Sequence[str]) -> None:
    """Answer preflights, and let pages of these origins read the answers."""
    app.add_middleware(
        CORSMiddleware,
        allow_origins=list(origins),
        allow_methods=["*"],
        allow_headers=["*"],
        # The browser's own passwords and cookies are never sent for a page of any site.
        allow_credentials=ANY not in origins,
        expose_headers=["x-request-id", "retry-after", "location"],
    )
