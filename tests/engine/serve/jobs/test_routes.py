"""The routes /v1/jobs."""

import io
import json
import tarfile
import threading
import time

import pytest

UNKNOWN = "0" * 32


def test_a_job_is_created_listed_and_shown(server):
    answer = server.client.post("/v1/jobs", json={"classes": {"cyt_mast": 2}, "settings": {"num_inference_steps": 2}})
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["total"], job["bundle"], job["classes"]) == (2, "bundle", {"cyt_mast": 2})
    server.ended(job["id"])
    other = server.create()
    listed = server.client.get("/v1/jobs").json()
    assert [one["id"] for one in listed["jobs"]] == [other["id"], job["id"]]
    page = server.client.get("/v1/jobs", params={"limit": 1}).json()
    assert [one["id"] for one in page["jobs"]] == [other["id"]]
    page = server.client.get("/v1/jobs", params={"limit": 1, "before": page["next"]}).json()
    assert [one["id"] for one in page["jobs"]] == [job["id"]]
    assert server.client.get("/v1/jobs", params={"state": "failed"}).json()["jobs"] == []


@pytest.mark.parametrize("path", ["", "/stream", "/events", "/tar", "/zip", "/pictures", "/pictures/0"])
def test_an_unknown_job_is_not_found_and_a_path_is_no_id(server, path):
    assert server.client.get(f"/v1/jobs/{UNKNOWN}{path}").status_code == 404
    for name in ("..", "%2e%2e", "..%2f..%2fetc", "A" * 32, "0" * 31, "0" * 33, f"{UNKNOWN}%0a"):
        answer = server.client.get(f"/v1/jobs/{name}{path}")
        assert answer.status_code in (404, 422)
        assert "root" not in answer.text


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b'{"classes": {"cyt_mast": 1e400}}',
        b'{"classes": {"cyt_mast": 1}, "settings": {"guidance_scale": NaN}}',
        b'{"classes": {"cyt_mast": 1}, "settings": {"prompt": "\\ud800"}}',
        b'{"classes": {"\\ud800": 1}}',
        b'{"classes": {"cyt_mast": 1}, "\\udfff": 1}',
        b'{"bundle": "../../etc", "classes": {"cyt_mast": 1}}',
        b'{"classes": {"../cyt_mast": 1}}',
        b'{"classes": {"cyt_mast": ' + b"9" * 5000 + b"}}",
        b'{"classes": {"cyt_mast": 1}, "settings": {"seed": ' + b"9" * 400 + b"}}",
        b'{"classes": {"cyt_mast": 1}, "settings": {"width": -8}}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_a_hostile_body_is_refused_and_leaves_nothing(server, body):
    answer = server.client.post("/v1/jobs", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)
    assert "Traceback" not in answer.text
    assert list((server.service.settings.data / "jobs").iterdir()) == []


def test_the_queue_has_a_limit(serve):
    server = serve(jobs=2, job_pictures=100)
    jobs = [server.create({"cyt_mast": 100}, batch_size=1) for _ in range(2)]
    body = {"classes": {"cyt_mast": 1}}
    answer = server.client.post("/v1/jobs", json=body)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")
    assert server.get(jobs[1]["id"])["position"] == 1
    server.client.post(f"/v1/jobs/{jobs[1]['id']}/cancel")
    assert server.client.post("/v1/jobs", json=body).status_code == 201
    answer = server.client.post("/v1/jobs", json={"classes": {"cyt_mast": 101}})
    assert answer.status_code in (422, 503)
    server.client.post(f"/v1/jobs/{jobs[0]['id']}/cancel")


def test_pictures_arrive_while_the_job_runs_and_progress_is_reported(server):
    job = server.create({"cyt_mast": 40}, batch_size=1)
    events = []

    def watch():
        with server.client.stream("GET", f"/v1/jobs/{job['id']}/events") as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            events.extend(json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: "))

    watching = threading.Thread(target=watch)
    watching.start()
    text = server.client.get(f"/v1/jobs/{job['id']}/stream", params={"first": 5}).text
    watching.join(60)
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["index"] for line in lines] == list(range(5, 40))
    done = [event["done"] for event in events]
    assert done == sorted(done)
    assert (events[-1]["state"], done[-1]) == ("done", 40)
    assert len(set(done)) > 2
    rates = [event["pictures_per_second"] for event in events if event["pictures_per_second"]]
    assert rates
    assert min(rates) > 0


def test_results_are_fetched_one_by_one_or_together(server):
    job = server.ended(server.create({"cyt_mast": 3})["id"])
    base = f"/v1/jobs/{job['id']}"
    rows = server.client.get(f"{base}/pictures", params={"first": 1, "limit": 1}).json()
    assert [(row["index"], row["file_name"]) for row in rows] == [(1, "cyt_mast/000001.png")]
    answer = server.client.get(f"{base}/pictures/1")
    assert answer.headers["content-type"] == "image/png"
    assert answer.content == (server.folder(job["id"]) / "cyt_mast/000001.png").read_bytes()
    assert server.client.get(f"{base}/pictures/3").status_code == 404
    answer = server.client.get(f"{base}/tar", params={"layout": "webdataset"}, headers={"accept-encoding": "gzip"})
    assert answer.headers["content-disposition"].endswith('.tar"')
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as tar:
        assert len(tar.getnames()) == 9
    assert server.client.get(f"{base}/tar", params={"layout": "../x"}).status_code == 422
    assert server.client.get(f"{base}/zip").content[:2] == b"PK"


def test_single_pictures_do_not_wait_for_a_large_job(server):
    job = server.create({"cyt_mast": 400}, batch_size=1)
    while not server.get(job["id"])["done"]:
        time.sleep(0.01)
    body = {"prompt": "", "steps": 2, "width": 32, "height": 32}
    assert server.client.post("/sdapi/v1/txt2img", json=body).status_code == 200
    assert server.get(job["id"])["state"] == "running"
    server.client.post(f"/v1/jobs/{job['id']}/cancel")
    server.ended(job["id"], "cancelled")
