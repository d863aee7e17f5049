"""The server: uvicorn with the application."""

from __future__ import annotations

import socket

import uvicorn
from fastapi import FastAPI

from engine.errors import RequestError
from engine.serve.app import make_app
from engine.serve.operation.logs import log, start_logging
from engine.serve.operation.stop import GRACE_S, GracefulServer
from engine.serve.security.protect import expect_safe
from engine.serve.service import Service
from engine.serve.settings import ServeSettings

__all__ = ["serve"]

WAITING = 128
"""Connections that wait to be accepted."""


def serve(settings: ServeSettings) -> None:
    """Serve until the process is asked to stop. Raises RequestError before anything is opened."""
    expect_safe(settings)
    service = Service(settings)
    try:
        app = make_app(service)
        with _listen(settings.host, settings.port) as listening:
            start_logging()
            port = listening.getsockname()[1]
            host = f"[{settings.host}]" if ":" in settings.host else settings.host
            print(f"http://{host}:{port} (stop with Ctrl-C)", flush=True)
            log("listening", host=settings.host, port=port)
            GracefulServer(_config(app), service.stop).run([listening])
    finally:
        service.close()


def _config(app: FastAPI) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        # Whoever sends X-Forwarded-For could pretend to be another client at each wrong password.
        proxy_headers=False,
        timeout_graceful_shutdown=int(2 * GRACE_S),
    )


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address. Raises RequestError."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(WAITING)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        raise RequestError(
            f"--host {host} --port {port}",
            found=error.strerror or str(error),
            expected="an address of this machine and a free port",
            fix="choose another port with --port, or 0 for a free one",
        ) from error
    return listening
