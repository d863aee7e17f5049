"""The web application: all routes on one service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from fastapi.middleware.gzip import GZipMiddleware

from engine.serve.sdapi.routes import add_sdapi
from engine.serve.service import Service
from engine.version import __version__

__all__ = ["make_app"]


def make_app(service: Service) -> FastAPI:
    """Return the application. It closes the service at its end."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    # FastAPI's own pages of the documentation load scripts from another host.
    app = FastAPI(title="cytosynth", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan)
    add_sdapi(app, service)
    # Level 1: most of an answer are pictures in base64, of which no level saves more than a quarter.
    app.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=1)
    if service.settings.cors:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=service.settings.cors,
            allow_methods=["*"],
            allow_headers=["*"],
            allow_credentials=True,
        )
    return app
