"""The refiner is trained with the LoRA: for both classes, of which one has photographs."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from tests.stochastic import random_refiner
from tests.trainer.distillation.conftest import CLASSES
from trainer.base.refiner import REFINER_FILE, read_refiner, write_refiner

STEPS = ("--steps", 12, "--batch-size", 4, "--learning-rate", 2e-3)


@pytest.fixture
def match(in_process, whole_path, distilled, photographs, tmp_path):
    """Runs `match --train-refiner` on both classes with the refiners that are given, None for no refiner."""

    def run(*refiners):
        merged = []
        for name, refiner in zip(CLASSES, refiners, strict=True):
            merged.append(tmp_path / "merged" / name)
            shutil.copytree(whole_path / "merged" / name, merged[-1])
            if refiner is not None:
                write_refiner(refiner, merged[-1] / REFINER_FILE)
        where = ("--photographs", photographs, "--out", tmp_path / "matched")
        return in_process("trainer", "match", distilled, *merged, *where, *STEPS, "--train-refiner")

    return run


@pytest.mark.slow
def test_the_refiner_learns_and_is_written(match, tmp_path):
    done = match(random_refiner(), random_refiner())
    assert done.returncode == 0, done.stderr
    assert f"The refiner: {tmp_path / 'matched' / REFINER_FILE}" in done.stdout
    before, after = random_refiner(), read_refiner(tmp_path / "matched" / REFINER_FILE)
    assert before.settings == after.settings
    changes = [
        (old - new).abs().max()
        for old, new in zip(before.state_dict().values(), after.state_dict().values(), strict=True)
    ]
    assert torch.stack(changes).min() > 0
    matching = json.loads((tmp_path / "matched/turbo.json").read_text())["matching"]
    assert matching["settings"]["train_refiner"] is True
    assert matching["distances"][CLASSES[0]] < 0.97 * matching["distances_before"][CLASSES[0]]


@pytest.mark.slow
@pytest.mark.parametrize("case", ["none", "another"])
def test_classes_without_a_common_refiner_are_refused(case, match, tmp_path):
    other = None
    if case == "another":
        other = random_refiner()
        torch.nn.init.zeros_(other.strengths[0])
    done = match(random_refiner(), other)
    assert done.returncode == 2, done.stdout
    assert f"the class {CLASSES[1]}" in done.stderr
    assert "one refiner for all classes" in done.stderr
    assert not (tmp_path / "matched").exists()
