"""All checks together, in their order."""

import pytest

from engine.errors import RequestError
from engine.serve.security.passwords import hash_password
from engine.serve.security.protect import expect_safe
from tests.engine.serve.security.apps import Settings, client_of

RIGHT = ("anna", "correct horse")
PAGE = "https://page.example"
PREFLIGHT = {
    "origin": PAGE,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization,content-type",
}


@pytest.fixture(scope="module")
def users(tmp_path_factory):
    path = tmp_path_factory.mktemp("auth") / "users"
    path.write_text(hash_password(*RIGHT))
    return path


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "cells.example"])  # noqa: S104
def test_another_host_needs_passwords_or_the_word_that_none_are_wanted(host, users):
    with pytest.raises(RequestError, match="--auth FILE, or --no-auth"):
        expect_safe(Settings(host=host))
    assert expect_safe(Settings(host=host, no_auth=True)) is None
    assert expect_safe(Settings(host=host, auth=users)) is not None


def test_both_words_contradict_each_other(users):
    with pytest.raises(RequestError, match="one of them"):
        expect_safe(Settings(auth=users, no_auth=True))


def test_the_own_machine_needs_no_password():
    assert expect_safe(Settings()) is None


def test_an_ignored_password_does_no_harm_where_none_is_needed():
    assert client_of().get("/", auth=("any", "")).status_code == 200


def test_a_preflight_needs_no_password(users):
    client = client_of(auth=users, cors=[PAGE])
    answer = client.options("/", headers=PREFLIGHT)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert answer.headers["access-control-allow-credentials"] == "true"
    assert "authorization" in answer.headers["access-control-allow-headers"].lower()
    answer = client.post("/", headers={"origin": PAGE})
    assert answer.status_code == 401
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert client.post("/", headers={"origin": PAGE}, auth=RIGHT).status_code == 200


def test_a_preflight_of_another_site_is_refused(users):
    headers = {**PREFLIGHT, "origin": "https://evil.example"}
    for cors in (None, [PAGE]):
        answer = client_of(auth=users, cors=cors).options("/", headers=headers)
        assert answer.status_code in (400, 403)
        assert "access-control-allow-origin" not in answer.headers


def test_every_origin_may_be_allowed_but_without_the_browsers_passwords():
    answer = client_of(cors=["*"]).post("/", headers={"origin": "https://any.example"})
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers


def test_a_wrong_host_is_refused_before_a_password_is_looked_at(users):
    assert client_of(auth=users).get("/", headers={"host": "evil.example"}, auth=RIGHT).status_code == 421


def test_a_large_body_is_refused_only_after_the_password(users):
    client, body = client_of(auth=users), b"x" * 2**21
    assert client.post("/", content=body).status_code == 401
    assert client.post("/", content=body, auth=RIGHT).status_code == 413
