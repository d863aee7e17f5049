"""The web application: all routes on one service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.middleware.gzip import GZipMiddleware

from engine.serve.jobs.routes import add_jobs
from engine.serve.operation.wiring import add_operation
from engine.serve.page.app import mount_page
from engine.serve.page.assets import Assets, frontend
from engine.serve.sdapi.kept import OPTIONS
from engine.serve.sdapi.options import Options
from engine.serve.sdapi.routes import add_sdapi
from engine.serve.service import Service
from engine.version import __version__

__all__ = ["make_app"]


def make_app(service: Service) -> FastAPI:
    """Return the application. It closes the service at its end. Raises RequestError."""
    options = Options(service, service.settings.data / OPTIONS)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.jobs.start()
        yield
        service.close()

    # FastAPI's own pages of the documentation load scripts from another host.
    app = FastAPI(title="cytosynth", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan)
    add_sdapi(app, service, options)
    add_jobs(app, service.jobs)
    # Level 1: most of an answer are pictures in base64, of which no level saves more than a quarter.
    app.add_middleware(GZipMiddleware, minimum_size=1000, compresslevel=1)
    # Outside the compressor, because these files are compressed already, and inside the checks of requests.
    app.add_middleware(Assets, frontend=frontend())
    add_operation(app, service)
    mount_page(app, service, options)
    return app
