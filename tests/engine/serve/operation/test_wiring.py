"""Operation and security around the whole application."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import requests

from tests.engine.serve.conftest import running


def test_fifty_clients_at_once_are_answered(live):
    def ask(number):
        with requests.Session() as client:
            return [client.get(live.url("/sdapi/v1/samplers"), timeout=60).status_code for _ in range(10)]

    with ThreadPoolExecutor(50) as threads:
        codes = [code for found in threads.map(ask, range(50)) for code in found]
    assert codes == [200] * 500


@pytest.mark.parametrize("path", ["/", "/sdapi/v1/options", "/v1/jobs", "/metrics", "/docs", "/nothing", "/healthz"])
def test_every_route_is_protected_from_other_names_and_pages(live, path):
    assert live.get(path, headers={"host": "evil.example"}).status_code == 421
    assert live.post(path, {}, headers={"origin": "http://evil.example"}).status_code == 403


@pytest.mark.parametrize("path", ["/sdapi/v1/txt2img", "/v1/jobs", "/nothing"])
def test_every_route_has_a_limit_of_what_is_sent(live, path):
    def chunks():
        for _ in range(70):
            yield b" " * 2**20

    answer = requests.post(live.url(path), data=chunks(), timeout=60)
    assert answer.status_code in (404, 413)
    headers = {"content-length": str(2**40)}
    assert requests.post(live.url(path), data=b"", headers=headers, timeout=60).status_code == 413


def test_metrics_count_what_happened(live):
    live.get("/v1/jobs")
    live.get("/sdapi/v1/samplers")
    live.post("/sdapi/v1/txt2img", {"steps": 2, "batch_size": 2})
    bundle = next(iter(live.service.bundles))
    labels = f'{{bundle="{bundle}",class="cyt_mast"}}'
    text = live.get("/metrics").text
    for words in (
        'route="/v1/jobs"',
        'route="/sdapi/v1/samplers"',
        f"cytosynth_pictures_total{labels}",
        f"cytosynth_picture_seconds_count{labels}",
        'cytosynth_jobs{state="queued"}',
        'cytosynth_requests{state="waiting"}',
    ):
        assert words in text


def test_a_server_that_stops_is_not_ready_and_takes_no_work(live, tmp_path):
    with running(replace(live.service.settings, data=tmp_path)) as server:
        assert server.get("/readyz").status_code == 200
        server.service.stop.begin()
        server.service.stop.ended()
        assert server.get("/readyz").json()["checks"]["not stopping"] is False
        assert server.post("/v1/jobs", {"classes": {"cyt_mast": 1}}).status_code == 503
        assert server.get("/healthz").status_code == 200
