"""The command `engine serve`: an API that clients of AUTOMATIC1111's WebUI know, jobs, and a page."""

from __future__ import annotations

import importlib.util

from engine.errors import RequestError
from engine.options import with_options
from engine.serve.settings import ServeSettings

__all__ = ["serve"]

PACKAGES = ("fastapi", "gradio", "prometheus_client", "uvicorn")


@with_options
def serve(settings: ServeSettings) -> None:
    """Serve pictures over HTTP: a page, the API of AUTOMATIC1111's WebUI, and jobs."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise RequestError(
            "engine serve",
            found=f"no package {missing[0]}",
            expected="the packages of the extra serve",
            fix="pip install 'cytosynth[serve]'",
        )
    from engine.serve.server import serve as run

    run(settings)
