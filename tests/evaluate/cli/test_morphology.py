"""The command `morphology`: its table and its record."""

from __future__ import annotations

import json

import pytest


@pytest.mark.slow
def test_morphology_prints_distances_and_draws_outlines(phantoms, in_process, tmp_path):
    folders = phantoms / "real" / "cyt_mast", phantoms / "synthetic" / "cyt_mast"
    done = in_process("evaluate", "morphology", *folders, "--cells", "many", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    for words in ("nucleus area", "nucleus / cell area", "floor / sd", "measures of texture are"):
        assert words in done.stdout
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert [image["file"] for image in record["images"]] == [
        "real.png",
        "synthetic.png",
        "histograms.png",
        "texture.png",
    ]
    assert in_process("evaluate", "morphology", *folders, "--cells", "two").returncode == 2
