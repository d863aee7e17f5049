"""Descriptions of files of weights."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from engine.errors import RequestError
from tests.trainer.hypernetwork.examples import RECORD
from tests.trainer.lora.examples import kohya, layers_of, lora_tensors, written
from trainer.adapters.describe import describe
from trainer.adapters.unet_weights import UnetWeights, write_unet_weights


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


def test_a_lora_says_what_it_changes_and_how_strongly(base, tmp_path):
    tensors = lora_tensors(layers_of(base.unet), kohya, alpha=1)
    path = written(tmp_path / "sharp.safetensors", tensors, ss_network_module="networks.lora", ss_steps="70")
    first, *lines = describe(path)
    assert first == f"{path}: LoRA"
    assert lines[0] == "name: sharp, step 70"
    assert "rank: 2; factor alpha / rank: 0.5" in lines
    assert lines[-1] == "ss_network_module: networks.lora"


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("model.diffusion_model.out.2.bias", "a Stable Diffusion checkpoint"),
        ("control_model.x", "a ControlNet"),
        ("lora_te2_text_model_x.lora_down.weight", "LoRA for Stable Diffusion XL, which cannot be merged here"),
    ],
)
def test_a_file_that_cannot_be_merged_is_named(key, kind, tmp_path):
    path = written(tmp_path / "x.safetensors", {key: torch.zeros(2, 3)})
    assert describe(path) == [f"{path}: {kind}", "1 tensors", f"  {key} (2, 3)"]


def test_a_trained_unet_says_its_class(base, tmp_path):
    path = tmp_path / "whole.safetensors"
    write_unet_weights(path, UnetWeights(base.unet.state_dict(), "whole", 3, RECORD, "0" * 64))
    assert describe(path)[0] == f"{path}: trained UNet"
    assert f"UNet of the base: SHA-256 {'0' * 64}" in describe(path)
