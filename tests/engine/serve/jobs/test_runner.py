"""Jobs that run, stop, fail, and survive a restart and a kill."""

import json
import os
import shutil
import signal
import urllib.request

import pytest

from engine.errors import RequestError
from engine.serve.jobs.requests import JobRequest
from engine.serve.jobs.runner import NoRoom
from tests.engine.folders import pictures, pictures_in, wait_for_pictures, without_times


def test_a_job_writes_what_the_command_line_writes(server, in_process, tiny_bundle, tmp_path):
    job = server.ended(server.create({"cyt_mast": 3, "cyt_nep_mast": 3}, seed=7)["id"])
    assert (job["done"], job["failed"], job["fraction"]) == (6, 0, 1.0)
    options = ["--class", "cyt_mast", "--class", "cyt_nep_mast", "--n", 3, "--seed", 7, "--steps", 2, "--batch-size", 2]
    made = in_process("engine", "generate", "--bundle", tiny_bundle, *options, "--out", tmp_path / "out")
    assert made.returncode == 0, made.stderr
    assert without_times(server.folder(job["id"])) == without_times(tmp_path / "out")


def test_a_random_seed_is_drawn_once(server):
    job = server.create({"cyt_mast": 1}, seed=-1)
    assert job["settings"]["seed"] >= 0
    rows = server.client.get(f"/v1/jobs/{server.ended(job['id'])['id']}/pictures").json()
    assert rows[0]["seed"] == job["settings"]["seed"]


def test_a_stopped_server_keeps_finished_pictures_and_the_next_one_draws_the_rest(serve):
    first = serve()
    job = first.create({"cyt_mast": 60}, batch_size=1)
    later = first.create({"cyt_nep_mast": 1})
    first.has_drawn(job["id"], 3)
    first.service.close()
    kept = pictures(first.folder(job["id"]))
    assert 3 <= len(kept) < 60
    second = serve()
    assert second.get(later["id"])["position"] == 1
    assert second.ended(job["id"])["done"] == 60
    assert kept.items() <= pictures(second.folder(job["id"])).items()
    second.ended(later["id"])


@pytest.mark.slow
def test_a_killed_server_loses_no_finished_picture(start_command, tiny_bundle, tmp_path):
    def start():
        words = ["engine", "serve", "--bundle", tiny_bundle, "--data", tmp_path / "data", "--port", 0]
        process = start_command(*words)
        return process, process.stdout.readline().split()[0]

    def ask(url, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, {"content-type": "application/json"})  # noqa: S310
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return json.loads(answer.read())

    process, url = start()
    job = ask(f"{url}/v1/jobs", {"classes": {"cyt_mast": 40}, "settings": {"batch_size": 1, "seed": -1}})
    folder = tmp_path / "data/jobs" / job["id"] / "pictures"
    wait_for_pictures(folder, 4, process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    kept = pictures(folder)
    assert 4 <= len(kept) < 40

    process, url = start()
    lines = urllib.request.urlopen(f"{url}/v1/jobs/{job['id']}/stream", timeout=120).read().splitlines()  # noqa: S310
    # A slow machine sends empty lines, too.
    assert [json.loads(line)["index"] for line in lines if line] == list(range(40))
    found = ask(f"{url}/v1/jobs/{job['id']}")
    assert (found["state"], found["done"], found["settings"]) == ("done", 40, job["settings"])
    drawn = pictures(folder)
    assert len(drawn) == 40
    assert kept.items() <= drawn.items()
    process.send_signal(signal.SIGTERM)
    _, log = process.communicate(timeout=30)
    assert process.returncode == 0
    assert json.loads(log.splitlines()[-1])["level"] == "info"


def test_one_server_has_a_data_folder(serve):
    serve()
    with pytest.raises(RequestError, match="another process"):
        serve()


def test_a_cancelled_job_keeps_its_pictures_and_may_go_on(server):
    job = server.create({"cyt_mast": 60}, batch_size=1)
    server.has_drawn(job["id"], 2)
    assert server.client.delete(f"/v1/jobs/{job['id']}").status_code == 409
    assert server.client.post(f"/v1/jobs/{job['id']}/cancel").status_code == 200
    cancelled = server.ended(job["id"], "cancelled")
    assert 2 <= cancelled["done"] == pictures_in(server.folder(job["id"])) < 60
    kept = pictures(server.folder(job["id"]))
    assert server.client.post(f"/v1/jobs/{job['id']}/cancel").status_code == 409
    assert server.client.post(f"/v1/jobs/{job['id']}/resume").status_code == 200
    server.ended(job["id"])
    assert kept.items() <= pictures(server.folder(job["id"])).items()
    assert server.client.post(f"/v1/jobs/{job['id']}/resume").status_code == 409


def test_a_job_that_waits_is_cancelled_and_removed_at_once(server):
    running, waiting = server.create({"cyt_mast": 60}, batch_size=1), server.create()
    assert server.client.post(f"/v1/jobs/{waiting['id']}/cancel").json()["state"] == "cancelled"
    assert server.client.delete(f"/v1/jobs/{waiting['id']}").status_code == 204
    assert server.client.get(f"/v1/jobs/{waiting['id']}").status_code == 404
    assert not server.folder(waiting["id"]).parent.exists()
    server.client.post(f"/v1/jobs/{running['id']}/cancel")


def test_a_job_that_fails_says_why_without_paths_and_the_queue_goes_on(serve, tiny_bundle, tmp_path):
    copy = shutil.copytree(tiny_bundle, tmp_path / "copy")
    server = serve()
    server.service.add_bundle(copy)
    (copy / "vae_decoder.onnx").write_bytes(b"broken")
    name = next(name for name in server.service.bundles if name != "bundle")
    body = {"bundle": name, "classes": {"cyt_mast": 1}}
    job, later = server.client.post("/v1/jobs", json=body).json(), server.create()
    failed = server.ended(job["id"], "failed")
    assert failed["error"].keys() == {"subject", "found", "expected", "fix"}
    assert str(tmp_path) not in json.dumps(failed)
    assert "vae_decoder.onnx" in json.dumps(failed)
    server.ended(later["id"])


@pytest.mark.slow
def test_jobs_of_a_bundle_that_is_not_served_wait_for_it(serve, tiny_bundle, tmp_path):
    copy = shutil.copytree(tiny_bundle, tmp_path / "copy")
    first = serve()
    name = first.service.add_bundle(copy)
    first.service.jobs.pause()
    body = {"bundle": name, "classes": {"cyt_mast": 1}, "settings": {"num_inference_steps": 2}}
    job = first.client.post("/v1/jobs", json=body).json()
    first.service.close()
    second = serve()
    second.ended(second.create()["id"])
    assert second.get(job["id"])["state"] == "queued"
    second.service.add_bundle(copy)
    second.ended(job["id"])


def test_a_job_that_would_not_fit_on_the_disk_is_refused(serve):
    server = serve(job_pictures=10**9)
    with pytest.raises(NoRoom):
        server.service.jobs.create(JobRequest(classes={"cyt_mast": 9 * 10**8}))
    assert list((server.service.settings.data / "jobs").iterdir()) == []


def test_the_data_folder_is_private(server):
    job = server.ended(server.create()["id"])
    for folder in (server.service.settings.data, server.folder(job["id"]).parent):
        assert folder.stat().st_mode & 0o777 == 0o700
