"""The limit of request bodies."""

import asyncio

import pytest

from engine.serve.security.limits import BodyLimit
from tests.engine.serve.security.apps import client_of, echo_app

MOST = 2**20


@pytest.mark.parametrize("size", [0, 1, MOST])
def test_a_body_within_the_limit_arrives(size):
    assert client_of().post("/", content=b"x" * size).text == str(size)


def test_a_body_above_the_limit_is_refused():
    answer = client_of().post("/", content=b"x" * (MOST + 1))
    assert answer.status_code == 413
    assert answer.json()["error"] == "BodyTooLarge"
    assert answer.headers["connection"] == "close"


def test_chunks_without_a_stated_length_are_counted():
    taken = []

    def chunks():
        for i in range(200):
            taken.append(i)
            yield b"x" * 2**16

    assert client_of().post("/", content=chunks()).status_code == 413
    assert client_of().post("/", content=iter([b"x" * 1000] * 10)).text == "10000"


async def ask(messages, *, patience=1.0, headers=()):
    """Return what the application behind the limit sends for these messages of a client."""
    sent, left = [], iter(messages)

    async def receive():
        message = next(left, None)
        if message is None:
            await asyncio.sleep(60)
        return {"type": "http.request", **message}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/", "headers": list(headers), "query_string": b""}
    await BodyLimit(echo_app(), 100, patience)(scope, receive, send)
    return sent


def test_nothing_is_read_of_a_body_that_states_too_large_a_length():
    sent = asyncio.run(ask([], headers=[(b"content-length", b"101")]))
    assert sent[0]["status"] == 413


@pytest.mark.parametrize("length", [b"9" * 5000, b"1" + b"0" * 30])
def test_a_length_of_many_digits_is_too_large(length):
    assert asyncio.run(ask([], headers=[(b"content-length", length)]))[0]["status"] == 413


def test_no_chunk_is_read_after_the_limit():
    messages = iter([{"body": b"x" * 60, "more_body": True}] * 5)
    sent = asyncio.run(ask(messages))
    assert sent[0]["status"] == 413
    assert len(list(messages)) == 3
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]


def test_a_body_that_stops_in_the_middle_is_given_up():
    sent = asyncio.run(ask([{"body": b"x", "more_body": True}], patience=0.05))
    assert sent[0]["status"] == 408
