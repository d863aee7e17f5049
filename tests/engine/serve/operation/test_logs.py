"""Structured logs."""

import io
import json
import logging

import pytest

from engine.serve.operation.logs import LOGGER, REQUEST_ID, log, new_request_id, start_logging


@pytest.fixture
def stream():
    names = (LOGGER.name, "uvicorn", "uvicorn.error", "uvicorn.access")
    before = {name: vars(logging.getLogger(name)).copy() for name in names}
    stream = io.StringIO()
    start_logging(stream)
    yield stream
    for name, state in before.items():
        vars(logging.getLogger(name)).update(state)


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_line_of_json_with_its_fields_and_the_id_of_its_request(stream):
    token = REQUEST_ID.set("abc")
    log("job began", job="1f", pictures=3)
    REQUEST_ID.reset(token)
    log("stopped")
    first, second = lines(stream)
    assert first.pop("time").endswith("+00:00")
    assert first == {"level": "info", "event": "job began", "request_id": "abc", "job": "1f", "pictures": 3}
    assert second["event"] == "stopped"
    assert "request_id" not in second


def test_an_exception_is_named_with_its_place_and_without_its_message(stream):
    def draw(prompt):
        raise ValueError(prompt)

    try:
        draw("the secret prompt\nof a patient")
    except ValueError as error:
        log("failed", level=logging.ERROR, error=error)
        logging.getLogger("uvicorn.error").error("Exception in ASGI application\n", exc_info=error)
    assert "secret" not in stream.getvalue()
    for line in lines(stream):
        assert (line["error"], line["level"]) == ("ValueError", "error")
        assert line["at"][-1].endswith(" draw")
    assert lines(stream)[1]["event"] == "Exception in ASGI application"


def test_words_of_a_client_do_not_enter_through_uvicorns_log(stream):
    logging.getLogger("uvicorn.error").warning("Invalid header %r", "a prompt")
    logging.getLogger("uvicorn.access").info('"GET /?prompt=%s"', "a prompt")
    assert [line["event"] for line in lines(stream)] == ["Invalid header %r"]


@pytest.mark.parametrize("given", [None, "", "a b", "x" * 65, "a\nb", "ü", '"'])
def test_an_unusable_id_is_replaced(given):
    made = new_request_id(given)
    assert made != given
    assert len(made) == 16


def test_the_id_of_a_proxy_is_kept():
    assert new_request_id("req-1.a_B") == "req-1.a_B"
