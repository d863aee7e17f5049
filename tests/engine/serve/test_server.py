"""The server as a process: what is refused before anything is opened, and the stop."""

import json
import signal
import socket
import time
import urllib.request

import pytest
import requests

from engine.errors import RequestError
from engine.serve.server import serve
from engine.serve.settings import ServeSettings


def test_another_host_needs_passwords_or_a_clear_word(tmp_path):
    with pytest.raises(RequestError, match="--no-auth"):
        serve(ServeSettings(host="192.168.0.1", data=tmp_path / "data"))
    assert not (tmp_path / "data").exists()


def test_a_port_that_is_taken_is_named(tiny_bundle, tmp_path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        settings = ServeSettings(bundle=[str(tiny_bundle)], port=port, data=tmp_path / "data")
        with pytest.raises(RequestError, match=f"--port {port}"):
            serve(settings)


@pytest.mark.slow
def test_a_running_request_ends_before_the_server_and_nothing_private_is_logged(start_command, tiny_bundle, tmp_path):
    words = ["engine", "serve", "--bundle", tiny_bundle, "--data", tmp_path / "data", "--port", 0]
    process = start_command(*words)
    url = process.stdout.readline().split()[0]
    body = json.dumps({"prompt": "a secret prompt", "steps": 2, "width": 32, "height": 32}).encode()
    request = urllib.request.Request(f"{url}/sdapi/v1/txt2img", body, {"content-type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        assert answer.headers["x-request-id"]
        assert len(json.loads(answer.read())["images"]) == 1
    process.send_signal(signal.SIGTERM)
    printed, log = process.communicate(timeout=30)
    assert (process.returncode, printed) == (0, "")
    assert "secret" not in log
    events = [json.loads(line)["event"] for line in log.splitlines()]
    assert {"listening", "request", "stopping", "stopped"} <= {*events}


@pytest.mark.soak
def test_memory_does_not_grow_over_two_thousand_requests(start_command, tiny_bundle, tmp_path):
    """Of the same kinds: other prompts and sizes, so that models are opened and closed, and initial pictures."""
    words = ["engine", "serve", "--bundle", tiny_bundle, "--data", tmp_path / "data", "--port", 0]
    # Nobody reads the log, which a pipe would not hold.
    with (tmp_path / "log").open("w") as log:
        process = start_command(*words, output=log)
    while not (printed := (tmp_path / "log").read_text()).startswith("http"):
        time.sleep(0.1)
    url = printed.split()[0]
    with requests.Session() as client:

        def draw(i):
            body = {"prompt": f"cyt {'mast ' * (i % 5)}", "steps": 2, "seed": i, "width": 32, "height": (32, 64)[i % 2]}
            route = "txt2img"
            if i % 4 == 3:
                route, body = "img2img", {**body, "init_images": pictures[-1:]}
            answer = client.post(f"{url}/sdapi/v1/{route}", json=body, timeout=60)
            assert answer.status_code == 200, answer.text
            pictures[:] = answer.json()["images"]

        def megabytes():
            lines = client.get(f"{url}/metrics", timeout=60).text.splitlines()
            return float(next(one for one in lines if one.startswith("process_resident_memory_bytes")).split()[1]) / 1e6

        pictures, used = [], []
        for i in range(2000):
            draw(i)
            if i % 250 == 249:
                used.append(megabytes())
        print("resident memory after each 250 requests, in MB:", [round(one) for one in used])
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    # The first 500 open what stays open.
    assert used[-1] - used[1] < 0.05 * used[1]
