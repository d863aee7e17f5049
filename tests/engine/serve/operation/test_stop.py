"""The graceful stop."""

import socket
import threading
import time
import urllib.request

import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from engine.serve.operation.stop import GracefulServer, RefuseWork, Stop


def test_who_must_know_is_told_once_and_later_if_the_server_still_runs():
    stop, told, late = Stop(grace_s=0.05), [], threading.Event()
    stop.call_at_once(lambda: told.append(1))
    stop.call_after_grace(late.set)
    assert not stop.begun
    stop.begin()
    stop.begin()
    assert (stop.begun, told) == (True, [1])
    assert late.wait(5)


def test_nothing_is_called_after_the_end():
    stop, late = Stop(grace_s=0.1), threading.Event()
    stop.call_after_grace(late.set)
    stop.begin()
    stop.ended()
    assert not late.wait(0.3)


def test_no_new_work_is_taken_while_the_server_stops():
    stop = Stop()

    async def show(request):
        return PlainTextResponse("done")

    client = TestClient(RefuseWork(Starlette(routes=[Route("/", show, methods=["GET", "POST"])]), stop))
    assert client.post("/").status_code == 200
    stop.begin()
    stop.ended()
    answer = client.post("/")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert client.get("/").status_code == 200


def test_a_request_that_runs_is_answered_before_the_server_ends():
    stop, entered = Stop(), threading.Event()

    def slow(request):
        entered.set()
        while not stop.begun:
            time.sleep(0.01)
        time.sleep(0.2)
        return PlainTextResponse("whole")

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        server = GracefulServer(uvicorn.Config(Starlette(routes=[Route("/", slow)]), log_config=None), stop)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        answers = []

        def ask():
            with urllib.request.urlopen(url) as answer:
                answers.append(answer.read())

        asking = threading.Thread(target=ask)
        while not server.started:
            time.sleep(0.01)
        asking.start()
        assert entered.wait(10)
        server.handle_exit(15, None)
        thread.join(10)
        asking.join(10)
    assert answers == [b"whole"]
    assert not thread.is_alive()
