import threading
from collections import Counter

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, given, settings

from engine.serve.sdapi.errors import words_of
from tests.engine.serve.sdapi.conftest import in_base64
from tests.engine.serve.sdapi.hostile import hostile_bodies


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"sampler_name": "UniPC 2"}, 400, "Sampler not found: UniPC 2. Known are DPM++ 2M"),
        ({"scheduler": "Turbo"}, 422, "Known are Automatic, Karras"),
        ({"width": 33}, 422, "width\n  found:    33"),
        ({"script_name": "x/y/z plot"}, 422, "Script 'x/y/z plot' not found"),
        ({"refiner_checkpoint": "other"}, 422, "there is no refiner"),
        ({"override_settings": {"sd_model_checkpoint": "none"}}, 422, "model 'none' not found. Known are "),
        ({"override_settings": {"randn_source": "CPU"}}, 422, "Valid values: NumPy, NV, GPU"),
        ({"enable_hr": True, "hr_upscaler": "R-ESRGAN 4x+"}, 422, "Known are Latent"),
        ({"enable_hr": True, "hr_checkpoint_name": "other"}, 422, "hr_checkpoint_name"),
        ({"n_iter": 65}, 422, "1 to 64"),
        ({"prompt": "(x:.)"}, 422, "a weight that is no number"),
    ],
)
def test_a_wrong_request_is_answered_in_the_shape_of_the_webui(live, body, status, words):
    found = live.post("/sdapi/v1/txt2img", body)
    assert found.status_code == status
    answer = found.json()
    assert answer.keys() == {"error", "detail", "body", "errors"}
    assert words in answer["detail"]


def test_a_field_of_the_wrong_type_is_answered_as_fastapi_does(live):
    found = live.post("/sdapi/v1/txt2img", {"steps": "many"})
    assert found.status_code == 422
    assert found.json()["detail"][0].keys() == {"loc", "msg", "type"}
    found = live.post("/sdapi/v1/txt2img", None, data=b'{"seed": NaN}', headers={"content-type": "application/json"})
    assert found.status_code == 422


def test_a_full_queue_is_answered_with_the_time_to_wait(live, monkeypatch):
    from engine.serve.service import QueueFull

    def full(*_, **__):
        raise QueueFull(3, 17)

    monkeypatch.setattr(live.service, "submit", full)
    found = live.post("/sdapi/v1/txt2img", {})
    assert (found.status_code, found.headers["retry-after"]) == (503, "17")


def test_a_fault_of_the_program_says_nothing_about_itself(live, monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError("in /home/user/secret.py")

    monkeypatch.setattr(live.service, "submit", fail)
    found = live.post("/sdapi/v1/txt2img", {})
    assert found.status_code == 500
    assert found.json()["error"] == "ZeroDivisionError"
    assert "secret" not in found.text


def test_errors_name_fields_instead_of_options_and_no_folders():
    text = "The picture /data/uploads/x7/picture\n  fix: lower --guidance-scale, or --hires-steps"
    assert words_of(text) == "The picture picture\n  fix: lower cfg_scale, or hr_second_pass_steps"


@pytest.fixture
def impatient(live):
    """Interrupt everything that runs, so that requests for a thousand steps end at once."""
    end = threading.Event()

    def interrupt():
        while not end.wait(0.02):
            live.service.interrupt()

    thread = threading.Thread(target=interrupt)
    thread.start()
    yield
    end.set()
    thread.join()


def send_hostile_bodies(live, pictures, seed, count):
    """Return the statuses. No body may cause a fault, a traceback, or a path of this machine in an answer."""
    found, session = Counter(), requests.Session()
    root = str(live.service.settings.data.parent)
    for path, body in hostile_bodies(seed, count, pictures):
        answer = session.post(live.url(path), body, headers={"content-type": "application/json"}, timeout=60)
        assert answer.status_code < 500, (path, body[:500], answer.text[:500])
        assert "Traceback" not in answer.text
        assert root not in answer.text
        found[answer.status_code] += 1
    session.close()
    return found


@pytest.fixture
def pictures(cell, cell_mask):
    return [in_base64(cell), in_base64(cell_mask), in_base64(cell, "JPEG"), in_base64(cell.convert("P"), "GIF")]


def test_hostile_bodies_cause_no_fault(live, impatient, pictures):
    found = send_hostile_bodies(live, pictures, seed=1, count=150)
    assert found[200]
    assert found[422]
    assert list((live.service.settings.data / "uploads").iterdir()) == []


@pytest.mark.soak
def test_ten_thousand_hostile_bodies_cause_no_fault(live, impatient, pictures):
    found = send_hostile_bodies(live, pictures, seed=2, count=10_000)
    assert found[200] > 100


@pytest.mark.slow
def test_requests_that_the_schema_allows_cause_no_fault(live, impatient):
    schema = schemathesis.openapi.from_url(live.url("/openapi.json"))
    tried = set()
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(max_examples=4, deadline=None, database=None, derandomize=True, suppress_health_check=[*HealthCheck])
        @given(case=operation.as_strategy())
        def send(case):
            assert case.call(timeout=60).status_code < 500
            tried.add(case.operation.path)

        send()
    assert {"/sdapi/v1/txt2img", "/sdapi/v1/img2img", "/sdapi/v1/options", "/internal/progress"} <= tried
