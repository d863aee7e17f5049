"""Merges of the page: what is refused, what is listed, and a merge from its start to its end."""

from __future__ import annotations

import json
import stat
import time

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from engine.errors import RequestError
from engine.serve.page.merges import INPUTS, MergeRequest, Merges
from trainer.checkpoints import settings


@pytest.fixture
def merges(tmp_path):
    """Two checkpoints of one tensor: 1 and 3."""
    made = Merges(tmp_path / "checkpoints")
    for name, value in (("a", 1), ("b", 3)):
        save_file({"model.x": np.full(4, value, np.float32)}, tmp_path / f"checkpoints/{name}.safetensors")
    return made


def request(*names, **changes):
    stated = {"method": "weighted-sum", "multiplier": 0.5, "half": False, "name": "new"}
    return MergeRequest(names or ("a.safetensors", "b.safetensors"), **{**stated, **changes})


def test_the_methods_are_those_of_the_command():
    assert settings.INPUTS == INPUTS


def test_the_folder_is_private_and_lists_checkpoints_alone(merges, tmp_path):
    folder = tmp_path / "checkpoints"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in ("x.ckpt", ".hidden.safetensors", "y.safetensors.part", "line\nbreak.safetensors"):
        (folder / name).write_bytes(b"")
    (folder / "folder.safetensors").mkdir()
    assert merges.names() == ["a.safetensors", "b.safetensors"]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (request("a.safetensors", "../b.safetensors"), "a checkpoint of the menu"),
        (request("a.safetensors", "/etc/passwd"), "a checkpoint of the menu"),
        (request("a.safetensors", ""), "none"),
        (request("a.safetensors"), "weighted-sum of 1"),
        (request(method="x"), "x of 2"),
        (request(name="../new"), "at most 64 letters"),
        (request(name=""), "nothing"),
        (request(name="a"), "an existing file"),
    ],
)
def test_a_wrong_request_starts_nothing(merges, asked, words):
    with pytest.raises(RequestError, match=words):
        merges.start(asked)
    assert merges.last is None


def test_a_merge_runs_alone_and_leaves_a_checkpoint(merges, tmp_path):
    merge = merges.start(request(half=True))
    with pytest.raises(RequestError, match="one merge at a time"):
        merges.start(request(name="other"))
    while merge.child.running:
        time.sleep(0.1)
    assert merge.child.succeeded, merge.child.output()
    assert "1 merged" in merge.child.output()
    assert merges.names() == ["a.safetensors", "b.safetensors", "new.safetensors"]
    path = tmp_path / "checkpoints/new.safetensors"
    found = load_file(path)["model.x"]
    assert found.dtype == np.float16
    assert found.tolist() == [2.0] * 4
    with safe_open(path, framework="np") as opened:
        assert json.loads(opened.metadata()["sd_merge_recipe"])["multiplier"] == 0.5
    merges.close()


def test_uploads_are_checked_and_never_replace_a_file(merges, tmp_path):
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    for name, content in (("new.safetensors", b"no"), ("x.ckpt", b""), ("-x.safetensors", b"")):
        (uploads / name).write_bytes(content)
        with pytest.raises(RequestError, match=name):
            merges.take(uploads / name)
    save_file({"model.x": np.zeros(1)}, uploads / "v1.5 mix.safetensors")
    assert merges.take(uploads / "v1.5 mix.safetensors") == "v1.5 mix.safetensors"
    save_file({"model.x": np.zeros(1)}, uploads / "a.safetensors")
    with pytest.raises(RequestError, match="an existing file"):
        merges.take(uploads / "a.safetensors")
    assert merges.names() == ["a.safetensors", "b.safetensors", "v1.5 mix.safetensors"]
