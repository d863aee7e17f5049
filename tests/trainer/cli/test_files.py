"""The commands merge, convert and inspect."""

from __future__ import annotations

import json


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
