"""Inception's published file: how it is found, fetched, checked and read."""

from __future__ import annotations

import hashlib
import os
import pickle
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.errors import CytosynthError, RequestError
from evaluate.encoders.inception import Inception
from evaluate.encoders.inception_weights import (
    PUBLISHED,
    URL,
    VARIABLE,
    ExpectedFile,
    cached_weights,
    check_weights,
    fetch_weights,
    find_weights,
    read_weights,
)


def of_bytes(content: bytes) -> ExpectedFile:
    return ExpectedFile(len(content), hashlib.sha256(content).hexdigest())


def test_the_published_file_is_the_one_expected():
    assert PUBLISHED.sha256.startswith(URL.rpartition("-")[2].removesuffix(".pth"))
    assert len(PUBLISHED.sha256) == 64


def test_the_named_file_comes_before_the_cached_one(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert find_weights() is None
    cached = cached_weights()
    assert cached.parent == tmp_path / "cytosynth"
    cached.parent.mkdir()
    cached.write_bytes(b"")
    assert find_weights() == cached
    monkeypatch.setenv(VARIABLE, str(tmp_path / "absent.pth"))
    assert find_weights() == tmp_path / "absent.pth"


def wrong_files(folder: Path) -> Iterator[tuple[Path | None, str]]:
    whole = b"weights" * 100
    for name, content in {"truncated": whole[:-1], "longer": whole + b"x", "changed": b"W" + whole[1:]}.items():
        (folder / name).write_bytes(content)
        yield folder / name, f"SHA-256 {of_bytes(content).sha256}" if name == "changed" else f"{len(content)} bytes"
    yield folder / "absent", "no such file"
    yield folder, "no such file"
    yield None, "no file on this computer"


def test_a_wrong_file_is_refused_before_it_is_read(tmp_path):
    whole = b"weights" * 100
    (tmp_path / "whole").write_bytes(whole)
    assert check_weights(tmp_path / "whole", of_bytes(whole)) == tmp_path / "whole"
    for path, found in wrong_files(tmp_path):
        for refused in (check_weights, read_weights, Inception):
            with pytest.raises(RequestError) as caught:
                refused(path, of_bytes(whole))
            assert caught.value.exit_code == 2
            assert caught.value.found == found
            assert str(of_bytes(whole)) in caught.value.expected
            assert "python -m evaluate weights" in caught.value.fix
    with pytest.raises(RequestError, match="95,628,359 bytes"):
        check_weights(tmp_path / "whole")


class Code:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("container", ["torch", "pickle"])
def test_code_in_a_file_never_runs(tmp_path, container):
    path, target = tmp_path / "weights.pth", tmp_path / "made_by_the_pickle"
    content = {"fc.weight": Code(target)}
    if container == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(RequestError):
        Inception(path)
    with pytest.raises(RequestError, match="state dict of tensors"):
        Inception(path, of_bytes(path.read_bytes()))
    assert not target.exists()


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_tensors_are_read_from_both_containers_of_torch(tmp_path, zipped):
    path = tmp_path / "weights.pth"
    state = {"bn.weight": torch.arange(3.0), "bn.num_batches_tracked": torch.tensor(7)}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    weights = read_weights(path, of_bytes(path.read_bytes()))
    assert list(weights) == ["bn.weight"]
    assert weights["bn.weight"].tolist() == [0, 1, 2]


CONTENT = np.random.default_rng(11).bytes(3_000_000)


class Handler(BaseHTTPRequestHandler):
    """Serves `/whole`, `/changed`, `/longer`, `/cut` (fewer bytes than announced), `/moved` (redirected), else 404."""

    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "ftp://127.0.0.1/whole")
            self.end_headers()
            return
        contents = {"/whole": CONTENT, "/changed": b"x" + CONTENT[1:], "/longer": CONTENT + CONTENT, "/cut": CONTENT}
        if self.path not in contents:
            self.send_error(404)
            return
        body = contents[self.path]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body[: len(body) // 2] if self.path == "/cut" else body)
        except ConnectionError:
            # The reader closes the connection when it has more bytes than the file may have.
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


def test_weights_are_fetched_once(server, tmp_path):
    destination = tmp_path / "cache" / "weights.pth"
    expect = of_bytes(CONTENT)
    assert fetch_weights(destination, f"{server}/whole", expect, schemes=("http",)) == destination
    assert destination.read_bytes() == CONTENT
    fetch_weights(destination, f"{server}/absent", expect, schemes=("http",))
    assert [path.name for path in destination.parent.iterdir()] == ["weights.pth"]


@pytest.mark.parametrize(
    ("page", "found"),
    [
        ("changed", "3,000,000 bytes with SHA-256 "),
        ("longer", "more than 3,000,000 bytes"),
        ("cut", "1,500,000 bytes with SHA-256 "),
        ("absent", "HTTP Error 404"),
        ("moved", "HTTP Error 302: redirected to ftp://"),
    ],
)
def test_a_download_that_fails_leaves_nothing(server, tmp_path, page, found):
    with pytest.raises(CytosynthError) as caught:
        fetch_weights(tmp_path / "weights.pth", f"{server}/{page}", of_bytes(CONTENT), schemes=("http",))
    assert caught.value.found.startswith(found)
    assert f"{VARIABLE}=FILE" in caught.value.fix
    assert list(tmp_path.iterdir()) == []


def test_a_failed_download_keeps_what_was_there(server, tmp_path):
    destination = tmp_path / "weights.pth"
    destination.write_bytes(b"another file")
    with pytest.raises(CytosynthError):
        fetch_weights(destination, f"{server}/changed", of_bytes(CONTENT), schemes=("http",))
    assert destination.read_bytes() == b"another file"


def test_without_a_network_the_error_says_how_to_go_on(tmp_path):
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as closed:
        url = f"http://127.0.0.1:{closed.server_port}/whole"
    with pytest.raises(CytosynthError, match="by hand") as caught:
        fetch_weights(tmp_path / "weights.pth", url, schemes=("http",))
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1/whole", "file:///etc/hostname", "weights.pth"])
def test_only_https_is_fetched(tmp_path, url):
    with pytest.raises(RequestError, match="https://"):
        fetch_weights(tmp_path / "weights.pth", url)
