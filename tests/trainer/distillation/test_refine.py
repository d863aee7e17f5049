"""The refiner is trained on what two tiny classes draw, of which one has photographs."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from PIL import Image

from tests.stochastic import random_refiner
from tests.trainer.distillation.conftest import CLASSES
from trainer.base.jpeg import JpegGrid
from trainer.base.refiner import REFINER_FILE, read_refiner, write_refiner

QUICK = ("--teacher-steps", 2, "--guidance-scale", 1, "--steps", 16, "--batch-size", 4, "--learning-rate", 4e-3)


@pytest.fixture
def refine(in_process, whole_path, photographs, tmp_path):
    """Runs `refine` on both classes with the refiners that are given, None for no refiner."""

    def run(*refiners, few_steps=None, options=()):
        merged = []
        for name, refiner in zip(CLASSES, refiners, strict=True):
            merged.append(tmp_path / "merged" / name)
            shutil.copytree(whole_path / "merged" / name, merged[-1])
            if refiner is not None:
                write_refiner(refiner, merged[-1] / REFINER_FILE)
        lora = () if few_steps is None else ("--few-steps", few_steps)
        where = ("--photographs", photographs, "--out", tmp_path / "refined")
        return in_process("trainer", "refine", *merged, *where, *lora, *QUICK, *options)

    return run


@pytest.mark.slow
def test_pictures_of_both_ways_come_nearer_to_photographs(refine, distilled, tmp_path):
    done = refine(random_refiner(), random_refiner(), few_steps=distilled)
    assert done.returncode == 0, done.stderr
    before, after = random_refiner(), read_refiner(tmp_path / "refined" / REFINER_FILE)
    assert before.settings == after.settings
    pairs = zip(before.state_dict().values(), after.state_dict().values(), strict=True)
    assert min(float((old - new).abs().max()) for old, new in pairs) > 0
    record = json.loads((tmp_path / "refined/refiner.json").read_text())
    assert record["distances"].keys() == {"default settings", "few steps"}
    for way, distances in record["distances"].items():
        assert list(distances) == [CLASSES[0]]
        assert distances[CLASSES[0]] < 0.98 * record["distances_before"][way][CLASSES[0]]


@pytest.mark.slow
@pytest.mark.parametrize("case", ["none", "another"])
def test_classes_without_a_common_refiner_are_refused(case, refine, tmp_path):
    other = None
    if case == "another":
        other = random_refiner()
        torch.nn.init.zeros_(other.strengths[0])
    done = refine(random_refiner(), other)
    assert done.returncode == 2, done.stdout
    assert f"the class {CLASSES[1]}" in done.stderr
    assert "one refiner for all classes" in done.stderr
    assert not (tmp_path / "refined").exists()


@pytest.mark.slow
def test_pictures_get_the_blocks_of_a_photograph(refine, whole_path, tmp_path):
    """The photograph is 1.5 times as large as the drawn pictures, and its blocks begin at its corner."""
    shutil.copy(whole_path / "prepared/sources.jsonl", tmp_path / "photographs")
    photograph = tmp_path / "photograph.jpg"
    Image.new("RGB", (48, 48), "pink").save(photograph, quality=75, subsampling=0)
    done = refine(random_refiner(), random_refiner(), options=("--steps", 2, "--stored-as", photograph))
    assert done.returncode == 0, done.stderr
    found = read_refiner(tmp_path / "refined" / REFINER_FILE)
    assert found.settings.jpeg == JpegGrid(scale=1.5, left=0.0, top=0.0)
    assert found.jpeg.steps[:, 0, 0].tolist() == [8, 9, 9]
