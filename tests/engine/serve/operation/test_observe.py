"""Ids, log lines and counts of requests."""

import logging

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from engine.serve.operation.logs import LOGGER, REQUEST_ID
from engine.serve.operation.metrics import Metrics
from engine.serve.operation.observe import add_metrics, observe


async def show(request):
    return PlainTextResponse(str(REQUEST_ID.get()))


async def fail(request):
    raise ValueError("a secret prompt")


@pytest.fixture
def records(monkeypatch):
    found = []
    handler = logging.Handler()
    handler.emit = found.append
    monkeypatch.setattr(LOGGER, "handlers", [handler])
    monkeypatch.setattr(LOGGER, "propagate", False)
    monkeypatch.setattr(LOGGER, "level", logging.INFO)
    return found


@pytest.fixture
def client(records):
    app, metrics = Starlette(routes=[Route("/", show), Route("/fail", fail), Route("/healthz", show)]), Metrics()
    add_metrics(app, metrics)
    observe(app, metrics)
    return TestClient(app, raise_server_exceptions=False)


def test_every_answer_carries_the_id_that_its_route_sees(client):
    answer = client.get("/")
    assert answer.headers["x-request-id"] == answer.text
    assert client.get("/", headers={"x-request-id": "mine"}).text == "mine"
    assert client.get("/").text != answer.text


def test_a_request_is_logged_without_its_query_and_body(client, records):
    client.get("/?prompt=secret", headers={"x-secret": "secret"})
    [record] = records
    assert record.getMessage() == "request"
    assert record.fields.keys() == {"method", "route", "path", "status", "bytes", "ms"}
    assert (record.fields["status"], record.fields["path"]) == (200, "/")
    assert "secret" not in str(vars(record))


def test_a_path_with_a_file_name_is_not_logged(client, records):
    client.get("/file=patient%20name.png")
    assert "path" not in records[0].fields
    assert records[0].fields["route"] == "other"


def test_a_failure_is_logged_without_its_message_and_counted(client, records):
    assert client.get("/fail").status_code == 500
    [record] = records
    assert (record.levelno, record.fields["status"], type(record.trouble)) == (logging.ERROR, 500, ValueError)
    assert 'status="500"' in client.get("/metrics").text


def test_supervision_is_counted_but_not_logged(client, records):
    for path in ("/healthz", "/metrics"):
        assert client.get(path).status_code == 200
    assert records == []
    text = client.get("/metrics").text
    assert 'cytosynth_http_requests_total{method="GET",route="/healthz",status="200"} 1.0' in text


def test_paths_that_clients_invent_make_no_new_series(client):
    for i in range(10):
        client.get(f"/{i}")
    assert 'route="other",status="404"} 10.0' in client.get("/metrics").text
