"""The commands merge, convert and inspect."""

from __future__ import annotations

import json

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file


def test_merge_convert_and_inspect_from_the_command_line(in_process, whole_path, tmp_path):
    source = whole_path / "hypernetworks/cyt_mast.safetensors"
    assert in_process("trainer", "convert", source, tmp_path / "h.pt").returncode == 0
    shown = in_process("trainer", "inspect", tmp_path / "h.pt").stdout
    assert "hypernetwork" in shown
    assert "layer_structure: (1.0, 2.0, 1.0)" in shown
    shown = in_process("trainer", "inspect", source).stdout
    assert "drawn by cytosynth" in shown
    merge_it = ["trainer", "merge", tmp_path / "h.pt", "--base", whole_path / "base", "--out", tmp_path / "merged"]
    done = in_process(*merge_it)
    assert done.returncode == 2
    assert "--origin" in done.stderr
    done = in_process(*merge_it, "--origin", "phantom", "--pictures", 24, "--class", "again")
    assert done.returncode == 0, done.stderr
    assert "folded into the weights" in done.stdout
    assert "Largest difference" in done.stdout
    assert json.loads((tmp_path / "merged/class.json").read_text())["class_name"] == "again"
    done = in_process(*merge_it, "--multiplier", 1, "--multiplier", 2)
    assert done.returncode == 2
    assert "--multiplier" in done.stderr
    done = in_process("trainer", "convert", source, tmp_path / "h.pt")
    assert done.returncode == 2


def test_a_merged_folder_as_base_lends_its_class_and_its_signal_leak(in_process, whole_path, tmp_path):
    """A LoRA without a record is merged into the folder of a class, whose other adapters stay listed."""
    first, second = tmp_path / "first", tmp_path / "second"
    source = whole_path / "hypernetworks/cyt_mast.safetensors"
    known = ("--base", whole_path / "base", "--signal-leak", whole_path / "prepared/cyt_mast")
    done = in_process("trainer", "merge", source, "--out", first, *known)
    assert done.returncode == 0, done.stderr
    write_lora(tmp_path / "sharp.safetensors", UNet2DConditionModel.from_pretrained(first / "unet"))
    done = in_process("trainer", "merge", tmp_path / "sharp.safetensors", "--base", first, "--out", second)
    assert done.returncode == 0, done.stderr
    before, after = (json.loads((folder / "class.json").read_text()) for folder in (first, second))
    assert [one["name"] for one in after.pop("adapters")] == ["cyt_mast", "sharp"]
    assert before.pop("adapters")
    assert before == after
    leaks = [(folder / "signal_leak.safetensors").read_bytes() for folder in (first, second)]
    assert leaks[0] == leaks[1]


def write_lora(path, unet):
    """Write a LoRA of rank 1 of one layer, with random values."""
    name = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    rows, columns = unet.get_submodule(name).weight.shape
    key = f"lora_unet_{name.replace('.', '_')}"
    save_file(
        {f"{key}.lora_down.weight": torch.randn(1, columns), f"{key}.lora_up.weight": 0.1 * torch.randn(rows, 1)}, path
    )
