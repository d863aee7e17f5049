"""The headers Host and Origin."""

import pytest

from engine.errors import RequestError
from engine.serve.security.origin import is_loopback, parse_origins, served_names
from tests.engine.serve.security.apps import client_of

OWN = "http://127.0.0.1:7860"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:7860", "127.0.0.1:7860", "127.0.0.1:8080", "[::1]:7860"])
def test_a_name_of_this_machine_is_served(host):
    assert client_of().get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:7860",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "192.168.1.5:7860",
        "2130706433",
        "0x7f.1",
        "localhost@evil.example",
        "localhost:7860:80",
        "localhost:999999",
        "localhost/x",
        "",
        "[::1",
        " localhost",
    ],
)
def test_another_name_is_refused(host):
    answer = client_of().get("/", headers={"host": host})
    assert answer.status_code in (400, 421)
    assert answer.json()["error"] == "WrongHost"


def test_names_follow_the_address_and_the_setting():
    assert "cells.example" in served_names("127.0.0.1", ["Cells.example."])
    assert "10.1.2.3" in served_names("0.0.0.0")  # noqa: S104
    assert "evil.example" not in served_names("0.0.0.0")  # noqa: S104
    assert "10.1.2.3" in served_names("10.1.2.3")
    assert "10.1.2.4" not in served_names("10.1.2.3")
    assert [is_loopback(host) for host in ("localhost", "127.9.9.9", "::1", "0.0.0.0", "10.0.0.1", "name")] == [  # noqa: S104
        True,
        True,
        True,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "https://127.0.0.1.evil.example:7860",
        "http://127.0.0.1:3000",
        "http://127.0.0.1",
        "http://localhost:7860",
        "null",
        "file://",
        "http://127.0.0.1:7860@evil.example",
        "",
    ],
)
def test_a_page_of_another_site_is_refused(method, origin):
    answer = client_of().request(method, "/", headers={"origin": origin})
    assert (answer.status_code, answer.json()["error"]) == (403, "WrongOrigin")
    assert "access-control-allow-origin" not in answer.headers


def test_two_origins_are_refused():
    headers = [("origin", OWN), ("origin", "http://evil.example")]
    assert client_of().post("/", headers=headers).status_code == 403


@pytest.mark.parametrize(
    "headers", [{}, {"origin": OWN}, {"sec-fetch-site": "same-origin"}, {"sec-fetch-site": "none"}]
)
def test_the_own_page_and_programs_are_served(headers):
    assert client_of().post("/", headers=headers).status_code == 200


def test_a_link_from_another_site_opens_the_page_but_its_form_posts_nothing():
    headers = {"sec-fetch-site": "cross-site"}
    assert client_of().get("/", headers=headers).status_code == 200
    assert client_of().post("/", headers=headers).status_code == 403


def test_an_allowed_origin_is_served_and_may_read_the_answer():
    client = client_of(cors=["https://page.example/", "http://localhost:3000"])
    answer = client.post("/", headers={"origin": "https://page.example"})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "https://page.example"
    assert client.post("/", headers={"origin": "https://page.example:444"}).status_code == 403


def test_origins_are_read_as_browsers_send_them():
    assert parse_origins(["HTTPS://Page.Example:443/", "http://[::1]:3000", "app://obsidian.md", "*"]) == (
        "https://page.example",
        "http://[::1]:3000",
        "app://obsidian.md",
        "*",
    )
    for text in ("page.example", "https://page.example/path", "https://me@page.example", "https://a:99999", ""):
        with pytest.raises(RequestError, match="--cors"):
            parse_origins([text])
