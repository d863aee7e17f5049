"""A live server on the tiny bundle, which all tests of the routes share."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
import uvicorn
import webuiapi

from engine.serve.app import make_app
from engine.serve.service import Drawing, Service
from engine.serve.settings import ServeSettings

CLASSES = ("cyt_mast", "cyt_nep_mast")


@dataclass(frozen=True)
class Live:
    """A server that runs in a thread of this process."""

    service: Service
    port: int

    @property
    def api(self) -> webuiapi.WebUIApi:
        """A client for Python programs that others wrote."""
        return webuiapi.WebUIApi(host="127.0.0.1", port=self.port)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def get(self, path: str, **options: Any) -> requests.Response:
        return requests.get(self.url(path), timeout=60, **options)

    def post(self, path: str, body: Any = None, **options: Any) -> requests.Response:
        return requests.post(self.url(path), json=body, timeout=60, **options)


@contextmanager
def running(settings: ServeSettings) -> Iterator[Live]:
    """Run a server on a free port."""
    service = Service(settings)
    server = uvicorn.Server(uvicorn.Config(make_app(service), port=0, log_level="error", lifespan="on"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield Live(service, server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="session")
def live(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    data = tmp_path_factory.mktemp("served")
    with running(ServeSettings(bundle=[str(tiny_bundle)], data=data)) as server:
        yield server


@pytest.fixture(scope="session")
def service(live: Live) -> Service:
    """The service of the shared server."""
    return live.service


@pytest.fixture(scope="session")
def bundle_name(service: Service) -> str:
    return next(iter(service.bundles))


@pytest.fixture
def drawing(bundle_name: str):
    """Return a request for pictures of a class, one with few steps unless a test needs more."""
    from engine.bundle.settings import settings_of

    def make(n: int = 1, class_name: str = CLASSES[0], **options: Any) -> Drawing:
        settings = {"num_inference_steps": 2, "batch_size": 1, **options}
        return Drawing(bundle_name, class_name, n, settings_of(**settings))

    return make
