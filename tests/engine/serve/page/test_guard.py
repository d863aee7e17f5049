"""What Gradio may answer."""

from __future__ import annotations

import base64
import hashlib
import json
import urllib.error
import urllib.parse
import urllib.request

import pytest

from engine.serve.page.guard import policy


def ask(url, body=None):
    """Return the status of a request."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, body and body.encode(), headers)  # noqa: S310 - this machine
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/proxy=https://example.org/x",
        "/gradio_api/file=https://example.org/x",
        "/gradio_api/file=HTTP%3A%2F%2Fexample.org/x",
        "/gradio_api/file=file:///etc/passwd",
        "/gradio_api/file/https://example.org/x",
        "/gradio_api/vibe-code/",
        "/gradio_api/info",
        "/gradio_api/run-history/buckets",
        "/gradio_api/openapi.json",
        "/monitoring",
        "/login",
        "/none",
    ],
)
def test_routes_that_the_page_does_not_need_do_not_exist(site, path):
    assert ask(site.url + path) == 404


@pytest.mark.parametrize("path", ["/etc/passwd", "../../../etc/passwd", "pyproject.toml", "{data}", "{data}/../x"])
def test_files_outside_the_folder_of_the_page_are_refused(site, path):
    path = path.replace("{data}", str(site.data))
    assert ask(f"{site.url}/gradio_api/file={urllib.parse.quote(path)}") == 403


def test_an_event_that_names_a_file_of_another_host_is_refused(site):
    picture = {"path": "http://example.org/x.png", "meta": {"_type": "gradio.FileData"}}
    for body in ({"data": [[{"deep": [picture]}]], "fn_index": 0, "session_hash": "x"}, {"data": [picture]}):
        assert ask(f"{site.url}/gradio_api/queue/join", json.dumps(body)) == 422


def test_an_event_that_is_no_json_is_refused(site):
    assert ask(f"{site.url}/gradio_api/queue/join", "[" * 100_000) == 422


def test_only_the_inline_scripts_of_the_page_may_run():
    page = b'<script data-x>one()</script><script type="module" src="./a.js"></script><SCRIPT>two()</SCRIPT>'
    (scripts,) = [part for part in policy(page).split("; ") if part.startswith("script-src ")]
    hashes = [base64.b64encode(hashlib.sha256(text).digest()).decode() for text in (b"one()", b"two()")]
    assert scripts.split() == ["script-src", "'self'", "'unsafe-eval'", *(f"'sha256-{one}'" for one in sorted(hashes))]


def test_the_page_names_its_files_early_and_a_dropped_file_runs_nothing(site):
    with urllib.request.urlopen(site.url, timeout=30) as answer:  # noqa: S310
        page, rules = answer.read().decode(), answer.headers["content-security-policy"]
    assert "'unsafe-inline'" not in rules.partition("script-src")[2].partition(";")[0]
    assert page.count('rel="modulepreload"') > 10
    (site.data / "page" / "x.svg").write_text("<svg/>")
    with urllib.request.urlopen(f"{site.url}/gradio_api/file={site.data}/page/x.svg", timeout=30) as answer:  # noqa: S310
        assert "sandbox" in answer.headers["content-security-policy"]
