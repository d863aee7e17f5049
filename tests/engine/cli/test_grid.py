"""`engine grid` as a user runs it."""

from __future__ import annotations

import json

import pytest
from PIL import Image


def cell(out, name, class_name="cyt_mast"):
    return (out / f"cells/{name}/{class_name}/000000.png").read_bytes()


def test_a_grid_has_a_sheet_and_pictures_with_their_metadata(in_process, tiny_bundle, tmp_path):
    axes = ["--x", "steps=1-3(+2)", "--y", "sampler=euler,euler_a", "--z", "class=cyt_mast,cyt_nep_mast"]
    words = ["grid", "--bundle", tiny_bundle, *axes, "--seed", 7, "--out", tmp_path / "grid", "--json"]
    done = in_process("engine", *words)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["made"], answer["total"], answer["complete"], answer["seed"]) == (8, 8, True, 7)
    record = json.loads((tmp_path / "grid/grid.json").read_text())
    assert record["cells"][3] == {
        "x": "3",
        "y": "euler_a",
        "z": "cyt_mast",
        "file": "cells/x1-y1-z0/cyt_mast/000000.png",
    }
    row = json.loads((tmp_path / "grid/cells/x1-y1-z1/metadata.jsonl").read_text())
    assert (row["steps"], row["sampler"], row["class"], row["seed"]) == (3, "euler_a", "cyt_nep_mast", 7)
    with Image.open(tmp_path / "grid/grid.png") as sheet:
        assert sheet.width > 2 * 32
        assert sheet.height > 4 * 32
    # A cell is what `engine generate` makes with these settings.
    single = ["--bundle", tiny_bundle, "--class", "cyt_mast", "--n", 1, "--steps", 3, "--sampler", "euler"]
    done = in_process("engine", "generate", *single, "--batch-size", 1, "--seed", 7, "--out", tmp_path / "one")
    assert done.returncode == 0, done.stderr
    assert cell(tmp_path / "grid", "x1-y0-z0") == (tmp_path / "one/cyt_mast/000000.png").read_bytes()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "no axis"),
        (["--x", "steps=8,many"], 2, "--x steps=many"),
        (["--x", "steps=2", "--y", "width=32,33"], 2, "--x steps=2, --y width=33: --width"),
        (["--x", "steps=2", "--y", "num_inference_steps=3"], 2, "changes the same"),
        (["--x", "prompt_replace=blob,mast"], 2, "no 'blob'"),
        (["--x", 'prompt=cyt,"cyt (mast"'], 2, "--x prompt=cyt (mast: --prompt"),
        (["--x", "clip_skip=1,9"], 2, "--x clip_skip=9: --clip-skip"),
        (["--x", "seed=1-400", "--y", "size=1024x1024"], 2, "419 megapixels"),
        (["--z", "class=cyt_mast"], 2, "one class, or an axis of classes"),
    ],
)
def test_a_wrong_grid_is_refused_before_anything_is_written(words, code, said, in_process, tiny_bundle, tmp_path):
    base = ["grid", "--bundle", tiny_bundle, "--class", "cyt_mast", "--out", tmp_path / "grid"]
    done = in_process("engine", *base, *words)
    assert done.returncode == code
    assert said in done.stderr
    assert not (tmp_path / "grid").exists()
