"""Metrics, read by the parser of prometheus_client."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from engine.serve.operation.metrics import Metrics


def samples(metrics):
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(metrics.text().decode())
        for sample in family.samples
    }


def test_requests_are_counted_by_route_and_status():
    metrics = Metrics()
    for status in (200, 200, 503):
        metrics.count("POST", "/v1/jobs", status, 0.3)
    found = samples(metrics)
    assert found["cytosynth_http_requests_total", "/v1/jobs", "200", "POST"] == 2
    assert found["cytosynth_http_requests_total", "/v1/jobs", "503", "POST"] == 1
    assert found["cytosynth_http_request_seconds_count", "/v1/jobs"] == 3
    assert found["cytosynth_http_request_seconds_bucket", "/v1/jobs", "0.1"] == 0
    assert found["cytosynth_http_request_seconds_bucket", "/v1/jobs", "0.5"] == 3


def test_pictures_are_counted_by_class_with_their_seconds():
    metrics = Metrics()
    metrics.drew("cells", "a", 4, 1.2)
    metrics.drew("cells", "b", 1, 9)
    metrics.drew("cells", "a", 0, 5)
    found = samples(metrics)
    assert found["cytosynth_pictures_total", "a", "cells"] == 4
    assert found["cytosynth_picture_seconds_sum", "a", "cells"] == pytest.approx(1.2)
    assert found["cytosynth_picture_seconds_bucket", "0.1", "a", "cells"] == 0
    assert found["cytosynth_picture_seconds_bucket", "0.5", "a", "cells"] == 4


def test_invented_methods_make_no_new_series():
    metrics = Metrics()
    for i in range(20):
        metrics.count(f"M{i}", "other", 405, 0)
    assert samples(metrics)["cytosynth_http_requests_total", "405", "other", "other"] == 20


def test_watched_values_are_asked_for_at_each_scrape():
    metrics, waiting = Metrics(), {"queued": 1}
    metrics.watch("cytosynth_jobs", "Jobs by state.", "state", lambda: waiting)
    metrics.watch("cytosynth_pictures", "Pictures.", "class", lambda: {"a": 7}, counter=True)
    assert samples(metrics)["cytosynth_jobs", "queued"] == 1
    waiting["queued"] = 5
    found = samples(metrics)
    assert found["cytosynth_jobs", "queued"] == 5
    assert found["cytosynth_pictures_total", "a"] == 7


def test_each_server_has_metrics_of_its_own_and_those_of_its_process():
    one, other = Metrics(), Metrics()
    one.count("GET", "/", 200, 0)
    assert ("cytosynth_http_requests_total", "/", "200", "GET") not in samples(other)
    assert samples(other)["process_resident_memory_bytes",] > 2**20
