"""Whether the process works (/healthz) and whether it takes requests (/readyz), for the programs that supervise it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse

__all__ = ["Check", "add_health", "has_room"]

Check = Callable[[], bool]
FREE_BYTES = 50 * 2**20
"""Least free space of the data folder."""
FRESH = {"cache-control": "no-store"}


def add_health(app: Starlette, checks: Mapping[str, Check]) -> None:
    """Add the two routes. checks: what must hold for requests to be taken; the names are shown."""

    async def healthz(_: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"}, headers=FRESH)

    async def readyz(_: Request) -> JSONResponse:
        found = {name: await run_in_threadpool(check) for name, check in checks.items()}
        ready = all(found.values())
        words = {"status": "ready" if ready else "not ready", "checks": found}
        return JSONResponse(words, status_code=200 if ready else 503, headers=FRESH)

    app.router.add_route("/healthz", healthz, ["GET"], include_in_schema=False)
    app.router.add_route("/readyz", readyz, ["GET"], include_in_schema=False)


def has_room(folder: Path) -> bool:
    """Return whether the folder can be written and has some free space."""
    try:
        return os.access(folder, os.W_OK | os.X_OK) and shutil.disk_usage(folder).free >= FREE_BYTES
    except OSError:
        return False
