"""A small application behind the checks, for the tests of this folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from engine.serve.security.protect import protect

__all__ = ["Limits", "Settings", "client_of", "echo_app"]


@dataclass(frozen=True)
class Limits:
    max_body: int = 1


@dataclass(frozen=True)
class Settings:
    host: str = "127.0.0.1"
    served_as: list[str] | None = None
    auth: Path | None = None
    no_auth: bool = False
    cors: list[str] | None = None
    limits: Limits = field(default_factory=Limits)


def echo_app():
    """Return an application that answers with the number of bytes that it received."""

    async def echo(request):
        return PlainTextResponse(str(len(await request.body())))

    return Starlette(routes=[Route(path, echo, methods=["GET", "POST"]) for path in ("/", "/healthz")])


def client_of(settings=None, *, address="testclient", **options):
    """Return a client of the application behind the checks of these settings."""
    app = echo_app()
    protect(app, settings or Settings(**options))
    return TestClient(app, base_url="http://127.0.0.1:7860", client=(address, 50000))
