"""The published weights of Inception: finding, downloading, checking and reading their file.

These are TensorFlow's weights of 2015-12-05, converted by torch-fidelity (Apache-2.0). pytorch-fid publishes the same
file. No package contains it.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from pickle import UnpicklingError
from typing import IO
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

import numpy as np
from numpy.typing import NDArray

from engine.errors import CytosynthError, RequestError, first_line
from engine.files import replace_file, sha256_of

__all__ = [
    "PUBLISHED",
    "URL",
    "VARIABLE",
    "ExpectedFile",
    "cached_weights",
    "check_weights",
    "fetch_weights",
    "find_weights",
    "read_weights",
]

URL = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
VARIABLE = "CYTOSYNTH_INCEPTION"
"""Environment variable that names the file of these weights."""
PIECE_BYTES = 1 << 20
TIMEOUT_S = 30


@dataclass(frozen=True)
class ExpectedFile:
    """Size and hash of a file."""

    size_bytes: int
    sha256: str

    def __str__(self) -> str:
        return f"{self.size_bytes:,} bytes with SHA-256 {self.sha256}"


PUBLISHED = ExpectedFile(95_628_359, "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2")
BY_HAND = f"download {URL} by hand and set {VARIABLE}=FILE"


def cached_weights() -> Path:
    """Return the path of downloaded weights, in the folder `cytosynth` of the user's cache. Creates nothing."""
    root = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or os.path.expanduser("~/.cache")
    return Path(root) / "cytosynth" / URL.rpartition("/")[2]


def find_weights() -> Path | None:
    """Return the file that CYTOSYNTH_INCEPTION names, even if it is missing; else the cached file, or None."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    cached = cached_weights()
    return cached if cached.is_file() else None


def check_weights(path: Path | None, expect: ExpectedFile = PUBLISHED) -> Path:
    """Return the path if the file has the expected size and SHA-256. The file is read as bytes only.

    Raises RequestError if size or hash differ, if the file is missing, and for None, which find_weights may return.
    """
    found = "no file on this computer" if path is None else _difference(path, expect)
    if path is None or found:
        raise RequestError(
            "Inception's weights" if path is None else f"Inception's weights {path}",
            found=found,
            expected=str(expect),
            fix=f"run `python -m evaluate weights` to download them once, or {BY_HAND}",
        )
    return path


def _difference(path: Path, expect: ExpectedFile) -> str:
    """Return what is wrong with a file, or an empty string if it is as expected."""
    if not path.is_file():
        return "no such file"
    if (size := path.stat().st_size) != expect.size_bytes:
        return f"{size:,} bytes"
    sha256 = sha256_of(path)
    return "" if sha256 == expect.sha256 else f"SHA-256 {sha256}"


def fetch_weights(
    destination: Path, url: str = URL, expect: ExpectedFile = PUBLISHED, *, schemes: tuple[str, ...] = ("https",)
) -> Path:
    """Download to `destination`, unless the expected file is there. Size and SHA-256 are checked during the download.

    schemes: allowed schemes of the address and of redirections. Raises RequestError for another scheme, and
    CytosynthError if the download fails or gives another file. `destination` is then unchanged.
    """
    if not _difference(destination, expect):
        return destination
    if urlsplit(url).scheme not in schemes:
        raise RequestError(
            "The address of Inception's weights", found=url, expected=f"{' or '.join(schemes)}://...", fix=BY_HAND
        )
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        with _opener(schemes).open(url, timeout=TIMEOUT_S) as response, replace_file(destination) as part:
            found = _save(response, part, expect.size_bytes)
            if found != expect:
                raise CytosynthError(
                    f"The file at {url}",
                    found=f"more than {expect.size_bytes:,} bytes"
                    if found.size_bytes > expect.size_bytes
                    else str(found),
                    expected=str(expect),
                    fix=f"try again, or {BY_HAND}",
                )
    except (OSError, HTTPException) as error:
        if isinstance(error, HTTPError):
            error.close()
        raise CytosynthError(
            f"The download of {url} to {destination}",
            found=first_line(error),
            expected=str(expect),
            fix=f"try again, or {BY_HAND}",
        ) from error
    return destination


def _save(response: HTTPResponse, part: Path, limit_bytes: int) -> ExpectedFile:
    """Write the response to a file and return its size and hash. Stop after the first piece beyond the limit."""
    digest, size = hashlib.sha256(), 0
    with part.open("wb") as file:
        while size <= limit_bytes and (piece := response.read(PIECE_BYTES)):
            file.write(piece)
            digest.update(piece)
            size += len(piece)
    return ExpectedFile(size, digest.hexdigest())


def _opener(schemes: tuple[str, ...]) -> OpenerDirector:
    class Redirects(HTTPRedirectHandler):
        def redirect_request(
            self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
        ) -> Request | None:
            if urlsplit(newurl).scheme not in schemes:
                raise HTTPError(newurl, code, f"redirected to {newurl}", headers, fp)
            return super().redirect_request(req, fp, code, msg, headers, newurl)

    return build_opener(Redirects)


def read_weights(path: Path | None, expect: ExpectedFile = PUBLISHED) -> dict[str, NDArray[np.float32]]:
    """Return the tensors of a checked file by name, without the counters of BatchNorm, which only training needs.

    torch reads the file with `weights_only`, so that no code in it runs. Raises RequestError as check_weights does, for
    a file with other content, and if torch is not installed.
    """
    path = check_weights(path, expect)
    try:
        import torch
    except ImportError as error:
        raise RequestError(
            f"Inception's weights {path}",
            found="no torch",
            expected="torch, which reads the file",
            fix="pip install torch",
        ) from error
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return {name: x.float().numpy() for name, x in state.items() if not name.endswith(".num_batches_tracked")}
    except (UnpicklingError, RuntimeError, EOFError, AttributeError) as error:
        raise RequestError(
            f"Inception's weights {path}", found=first_line(error), expected="a state dict of tensors", fix=BY_HAND
        ) from error
