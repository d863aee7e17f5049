"""Every command that writes into a folder lets one process at a time do so, and refuses the second at once."""

from __future__ import annotations

import shutil

import pytest

from engine.locks import locked_folder

COMMANDS = {
    "phantom": ["trainer", "phantom", "out", "--n", 1],
    "prepare": ["trainer", "prepare", "prepared", "out", "--size", 32],
    "pretrain": ["trainer", "pretrain", "prepared", "--out", "out", "--preset", "tiny"],
    "fit": ["trainer", "fit", "prepared/cyt_mast", "--base", "base", "--out", "out", "--steps", 1],
    "embed": ["trainer", "embed", "prepared/cyt_mast", "--base", "base", "--out", "out", "--steps", 1],
    "merge": ["trainer", "merge", "hypernetworks/cyt_mast.safetensors", "--base", "base", "--out", "out"],
    "convert": ["trainer", "convert", "hypernetworks/cyt_mast.safetensors", "out/x.pt"],
    "encoder": ["trainer", "encoder", "prepared", "--out", "out/x.onnx", "--attribution", "nobody"],
    "onnx": ["exporter", "onnx", "merged/cyt_mast", "--out", "out"],
    "preset": ["exporter", "preset", "bundle", "quick", "--steps", 2],
    "int8": ["exporter", "int8", "bundle"],
    "generate": ["engine", "generate", "--bundle", "bundle", "--class", "cyt_mast", "--n", 1, "--out", "out"],
    "merge-runs": ["engine", "merge-runs", "out"],
    "sheet": ["engine", "sheet", "out"],
    "bench": ["engine", "bench", "bundle", "--rounds", 1, "--record", "out/x.json"],
    "reference": ["engine", "reference", "bundle", "--class", "cyt_mast", "--out", "out/x.safetensors"],
    "score": ["evaluate", "score", "prepared/cyt_mast", "prepared/cyt_mast", "--out", "out"],
    "morphology": ["evaluate", "morphology", "prepared/cyt_mast", "prepared/cyt_mast", "--out", "out"],
    "masks": ["evaluate", "masks", "prepared/cyt_mast", "--region", "cell", "--out", "out"],
    "copies": [
        *("evaluate", "copies", "prepared/cyt_mast", "--train", "prepared/cyt_mast"),
        *("--held-out", "prepared/cyt_mast", "--out", "out"),
    ],
    "probe": ["evaluate", "probe", "prepared", "prepared", "--out", "out"],
    "judge": ["evaluate", "judge", "prepared", "--train", "prepared", "--held-out", "prepared", "--out", "out"],
    "utility": [
        *("evaluate", "utility", "--real", "prepared", "--synthetic", "prepared"),
        *("--held-out", "prepared", "--out", "out"),
    ],
    "curve": ["evaluate", "curve", "hypernetworks", "--real", "prepared", "--base", "base", "--out", "out"],
    "blind": ["evaluate", "blind", "prepared", "prepared", "--out", "out/x.html"],
    "report": ["evaluate", "report", "prepared", "--out", "out/x.html"],
}
PLACES = ("prepared", "base", "merged", "hypernetworks")


def placed(word, whole_path, out):
    """Return the path that a word of a command stands for, or the word."""
    first, _, rest = str(word).partition("/")
    if first in PLACES:
        return whole_path / word
    return out / rest if first == "out" else out.parent / "bundle" if word == "bundle" else word


@pytest.mark.parametrize("name", COMMANDS)
def test_a_second_process_is_refused_before_it_works(name, in_process, whole_path, tmp_path):
    bundle = tmp_path / "bundle"
    if "bundle" in COMMANDS[name]:
        shutil.copytree(whole_path / "bundle", bundle)
    out = bundle if name in ("preset", "int8") else tmp_path / "out"
    arguments = [placed(word, whole_path, out) for word in COMMANDS[name]]
    with locked_folder(out):
        before = sorted(out.rglob("*"))
        done = in_process(*arguments)
        assert done.returncode == 2, done.stderr
        assert "another process that is writing into the folder" in done.stderr
        assert sorted(out.rglob("*")) == before
