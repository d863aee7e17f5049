"""Basic authentication of requests."""

import base64
from concurrent.futures import ThreadPoolExecutor

import pytest
from starlette.testclient import TestClient

from engine.serve.security.auth import Attempts, BasicAuth
from engine.serve.security.passwords import hash_password, read_users
from tests.engine.serve.security.apps import echo_app

RIGHT = ("anna", "correct horse")


@pytest.fixture(scope="module")
def line():
    return hash_password(*RIGHT)


@pytest.fixture
def client(line, tmp_path):
    path = tmp_path / "users"
    path.write_text(line)
    app = BasicAuth(echo_app(), read_users(path), Attempts(most=3, seconds=60))
    with TestClient(app) as client:
        yield client


def test_a_request_without_a_password_is_asked_for_one(client):
    answer = client.get("/")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic ")
    assert answer.json() == {"error": "HTTPException", "detail": "Not authenticated", "body": "", "errors": ""}


def test_the_right_password_opens_the_door(client):
    assert client.get("/", auth=RIGHT).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        "Basic",
        "Basic !!!",
        "Bearer abc",
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Basic " + base64.b64encode(b"\xff\xfe:x").decode(),
        "Basic " + "A" * 5000,
    ],
)
def test_a_header_that_cannot_be_read_is_no_password(client, header):
    for _ in range(5):
        assert client.get("/", headers={"authorization": header}).status_code == 401


def test_after_some_wrong_passwords_a_client_has_to_wait(client):
    for _ in range(3):
        answer = client.get("/", auth=("anna", "guess"))
        assert (answer.status_code, answer.json()["detail"]) == (401, "Incorrect username or password")
    answer = client.get("/", auth=("anna", "guess"))
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= 61
    assert client.get("/", auth=RIGHT).status_code == 429


def test_a_user_who_is_logged_in_stays_in_when_others_behind_the_same_address_guess(client):
    assert client.get("/", auth=RIGHT).status_code == 200
    for _ in range(5):
        client.get("/", auth=("anna", "guess"))
    assert client.get("/", auth=RIGHT).status_code == 200


def test_many_first_requests_at_once_with_the_right_password_are_all_let_in(client):
    with ThreadPoolExecutor(12) as threads:
        codes = list(threads.map(lambda _: client.get("/", auth=RIGHT).status_code, range(12)))
    assert codes == [200] * 12


def test_guesses_at_once_are_limited_too(client):
    with ThreadPoolExecutor(12) as threads:
        codes = list(threads.map(lambda i: client.get("/", auth=("anna", f"guess {i}")).status_code, range(12)))
    assert sorted(codes) == [401] * 3 + [429] * 9


def test_supervisors_need_no_password(client):
    assert client.get("/healthz").status_code == 200


def test_attempts_are_forgotten_after_their_time():
    now = [0.0]
    attempts = Attempts(most=2, seconds=10, clients=2, clock=lambda: now[0])
    attempts.was_wrong("a")
    assert attempts.wait_s("a") == 0
    attempts.was_wrong("a")
    assert attempts.wait_s("a") == 11
    now[0] = 10.5
    assert attempts.wait_s("a") == 0
    for client in "bcd":
        attempts.was_wrong(client)
        attempts.was_wrong(client)
    assert [attempts.wait_s(client) > 0 for client in "bcd"] == [False, True, True]
