"""The server: uvicorn with the application."""

from __future__ import annotations

import uvicorn

from engine.errors import RequestError
from engine.serve.app import make_app
from engine.serve.service import Service
from engine.serve.settings import ServeSettings

__all__ = ["LOOPBACK", "check_host", "serve"]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Hosts that only this machine reaches."""


def check_host(settings: ServeSettings) -> None:
    """Raise RequestError for a host that others reach, unless passwords are asked for or nobody wants any."""
    if settings.host not in LOOPBACK and settings.auth is None and not settings.no_auth:
        raise RequestError(
            f"--host {settings.host}",
            found="an address that other machines reach, without --auth",
            expected=f"one of {', '.join(LOOPBACK)}, or passwords",
            fix="add --auth FILE, or --no-auth if everyone on the network may use the server",
        )


def serve(settings: ServeSettings) -> None:
    """Serve until the process is asked to stop. Raises RequestError before anything is opened."""
    check_host(settings)
    service = Service(settings)
    app = make_app(service)
    uvicorn.run(app, host=settings.host, port=settings.port, log_level="info", server_header=False)
