"""Pictures in, synthetic cells and their figures out, through the public command lines alone."""

from __future__ import annotations

import json

import pytest
from PIL import Image


@pytest.mark.slow
def test_the_whole_path_in_small(command, whole_path, tmp_path):
    """Everything before `generate` is the fixture's: phantom, prepare, pretrain, fit, merge, onnx."""
    base = json.loads((whole_path / "base/record.json").read_text())
    for part in ("vae", "unet"):
        assert base[part]["loss_last"] < 0.8 * base[part]["loss_first"]
    assert base["vae"]["training_psnr_db"] > 10
    out = tmp_path / "out"
    request = ["--bundle", whole_path / "bundle", "--class", "cyt_mast", "--n", 24, "--out", out, "--json"]
    generated = command("engine", "generate", *request)
    assert generated.returncode == 0, generated.stderr
    assert json.loads(generated.stdout)["trained_on"] == {"cyt_mast": "phantom"}
    pictures = sorted((out / "cyt_mast").glob("*.png"))
    assert len(pictures) == len({path.read_bytes() for path in pictures}) == 24
    with Image.open(pictures[0]) as picture:
        assert picture.size == (32, 32)
    prepared = whole_path / "prepared"
    scored = command(
        "evaluate", "score", prepared / "cyt_mast", out / "cyt_mast", "--other", prepared / "cyt_nep_mast", "--json"
    )
    assert scored.returncode == 0, scored.stderr
    found = json.loads(scored.stdout)["results"]
    # 32 pictures of 24 sources, 8 of which stand twice: 12 sources on either side.
    assert found["n"] == 12
    # A base that was trained for seconds draws no cells yet, and the figures must say so.
    for distance in ("FD-cyto", "KD-cyto"):
        assert found["figures"][distance]["fake"]["value"] > found["figures"][distance]["floor"]["high"]
