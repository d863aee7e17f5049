"""A server on the tiny bundle with a data folder of its own, and a run of some pictures."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from engine.serve.app import make_app
from engine.serve.service import Service
from engine.serve.settings import LimitSettings, ServeSettings
from tests.engine.folders import pictures_in

FAST = {"num_inference_steps": 2, "batch_size": 2}


class Server:
    """The application in this process, as a client sees it."""

    def __init__(self, client: TestClient, service: Service) -> None:
        self.client, self.service = client, service

    def create(self, classes=None, **settings):
        """Order pictures, and return the job."""
        body = {"classes": classes or {"cyt_mast": 3}, "settings": {**FAST, **settings}}
        answer = self.client.post("/v1/jobs", json=body)
        assert answer.status_code == 201, answer.text
        return answer.json()

    def get(self, job_id):
        """Return a job."""
        return self.client.get(f"/v1/jobs/{job_id}").json()

    def ended(self, job_id, state="done"):
        """Wait for the end of a job, which is expected in a state."""
        deadline = time.monotonic() + 120
        while (job := self.get(job_id))["state"] in ("queued", "running") and time.monotonic() < deadline:
            time.sleep(0.02)
        assert job["state"] == state, job
        return job

    def has_drawn(self, job_id, count):
        """Wait until a job has drawn a number of pictures."""
        deadline = time.monotonic() + 120
        while pictures_in(self.folder(job_id)) < count and time.monotonic() < deadline:
            time.sleep(0.005)

    def folder(self, job_id) -> Path:
        """Return the folder of a job's pictures."""
        return self.service.settings.data / "jobs" / job_id / "pictures"


@pytest.fixture
def serve(tiny_bundle, tmp_path):
    """Return a function that opens a server. All have the same data folder."""
    opened = []

    def start(**limits):
        settings = ServeSettings(bundle=[str(tiny_bundle)], data=tmp_path / "served", limits=LimitSettings(**limits))
        service = Service(settings)
        client = TestClient(make_app(service), base_url="http://127.0.0.1:7860", raise_server_exceptions=False)
        opened.append(client)
        client.__enter__()
        return Server(client, service)

    yield start
    for client in reversed(opened):
        client.__exit__(None, None, None)


@pytest.fixture
def server(serve):
    return serve()


@pytest.fixture(scope="session")
def run_folder(tiny_bundle, in_process, tmp_path_factory) -> Path:
    """A run of three pictures of one class and two of another."""
    out = tmp_path_factory.mktemp("run") / "out"
    first = ["--bundle", tiny_bundle, "--class", "cyt_mast", "--class", "cyt_nep_mast", "--n", 3]
    made = in_process("engine", "generate", *first, "--steps", 2, "--batch-size", 2, "--seed", 7, "--out", out)
    assert made.returncode == 0, made.stderr
    return out
