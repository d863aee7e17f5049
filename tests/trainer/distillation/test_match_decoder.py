"""A small decoder of two tiny classes is matched with photographs of one of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.stochastic import random_refiner
from tests.trainer.distillation.conftest import CLASSES
from trainer.base.refiner import REFINER_FILE, write_refiner
from trainer.base.small_decoder import read_small_decoder

QUICK = ("--pictures", 16, "--steps", 24, "--batch-size", 4, "--learning-rate", 3e-3, "--anchor-weight", 0.1)


@pytest.fixture(scope="module")
def shrunk(in_process, whole_path, distilled, tmp_path_factory):
    """A small decoder that was hardly trained."""
    out = tmp_path_factory.mktemp("shrunk")
    merged = [whole_path / f"merged/{name}" for name in CLASSES]
    quick = ("--teacher-steps", 2, "--guidance-scale", 1, "--steps", 24, "--width", 8, "--pictures", 8)
    done = in_process("trainer", "shrink", *merged, "--out", out, *quick, "--texture-share", 0)
    assert done.returncode == 0, done.stderr
    return out / "small_decoder.safetensors"


@pytest.fixture
def match_decoder(in_process, whole_path, distilled, shrunk, photographs, tmp_path):
    """Runs `match-decoder` on both classes with photographs of the first. Both classes have a refiner."""
    merged = [Path(shutil.copytree(whole_path / f"merged/{name}", tmp_path / "merged" / name)) for name in CLASSES]
    for folder in merged:
        write_refiner(random_refiner(), folder / REFINER_FILE)

    def run(out, *options, decoder=shrunk):
        needed = ("--photographs", photographs, "--few-steps", distilled, "--out", out)
        return in_process("trainer", "match-decoder", decoder, *merged, *needed, *QUICK, *options)

    return run


@pytest.mark.slow
def test_pictures_come_nearer_to_photographs(match_decoder, shrunk, tmp_path):
    out = tmp_path / "out"
    done = match_decoder(out)
    assert done.returncode == 0, done.stderr
    found, before = (json.loads((folder / "small_decoder.json").read_text()) for folder in (out, shrunk.parent))
    matching = found["matching"]
    assert list(matching["distances"]) == [CLASSES[0]]
    assert matching["distances"][CLASSES[0]] < 0.95 * matching["distances_before"][CLASSES[0]]
    assert set(found["psnr_db"]["few steps"]) == set(CLASSES)
    assert found["training"] == before["training"], "the record of shrink stays"
    old, new = (read_small_decoder(folder / "small_decoder.safetensors") for folder in (shrunk.parent, out))
    assert new.settings == old.settings
    done = match_decoder(out)
    assert done.returncode == 2
    assert "--overwrite" in done.stderr


@pytest.mark.parametrize(
    ("case", "found"),
    [
        ("its own folder", "the folder of SMALL_DECODER"),
        ("no decoder", "small decoder"),
        ("a damaged record", "The record"),
    ],
)
def test_wrong_requests_are_refused(case, found, match_decoder, shrunk, tmp_path):
    if case == "its own folder":
        done = match_decoder(shrunk.parent, "--overwrite")
    elif case == "no decoder":
        done = match_decoder(tmp_path / "out", decoder=tmp_path / "gone.safetensors")
    else:
        decoder = Path(shutil.copy(shrunk, tmp_path / "small.safetensors"))
        decoder.with_suffix(".json").write_text("{")
        done = match_decoder(tmp_path / "out", decoder=decoder)
    assert done.returncode == 2
    assert found in done.stderr
    assert not (tmp_path / "out").exists()
