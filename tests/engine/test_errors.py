"""Errors in four parts, which survive the way to another process."""

from __future__ import annotations

import pickle

from engine.errors import CytosynthError, RequestError, first_line


def test_an_error_shows_its_four_parts_and_travels_to_another_process():
    error = RequestError("--n", found="0", expected="1 to 9", fix="change the value")
    assert str(error) == "--n\n  found:    0\n  expected: 1 to 9\n  fix:      change the value"
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert (type(again), str(again), again.fix) == (RequestError, str(error), "change the value")


def test_a_wrong_request_exits_2_and_a_failure_1():
    assert (RequestError.exit_code, CytosynthError.exit_code) == (2, 1)


def test_the_first_line_of_an_exception_is_never_empty():
    assert first_line(ValueError("one\ntwo")) == "one"
    assert first_line(ValueError()) == "ValueError"
