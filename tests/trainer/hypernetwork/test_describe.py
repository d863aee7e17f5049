"""Descriptions of files of weights."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from engine.errors import RequestError
from trainer.hypernetwork.describe import describe


def test_a_hypernetwork_says_what_it_was_trained_on(whole_path):
    path = whole_path / "hypernetworks/cyt_mast.safetensors"
    first, *lines = describe(path)
    assert first == f"{path}: hypernetwork"
    for line in ("name: cyt_mast, step 20", "dimensions: 16, 32", "attribution: drawn by cytosynth"):
        assert line in lines


def test_other_files_list_their_tensors_without_control_characters(tmp_path):
    save_file({"a\x1b[2J": torch.zeros(2, 3)}, tmp_path / "x.safetensors")
    assert describe(tmp_path / "x.safetensors")[1:] == ["1 tensors", "  a\ufffd[2J (2, 3)"]
    torch.save({"one": {"two": [torch.zeros(4)]}}, tmp_path / "x.pt")
    assert describe(tmp_path / "x.pt") == [f"{tmp_path / 'x.pt'}: a torch file", "1 tensors", "  one.two.0 (4,)"]
    (tmp_path / "none.safetensors").write_bytes(b"none")
    with pytest.raises(RequestError, match="unreadable"):
        describe(tmp_path / "none.safetensors")
