"""`utility`: what each arm is taught, and which folders and settings are refused."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from PIL import Image

from engine.errors import RequestError
from evaluate.studies.utility import ARMS, DEFINITIONS, UtilitySettings, check_utility, run_utility
from evaluate.studies.utility_figures import GAINS

pytestmark = pytest.mark.usefixtures("one_thread")


TINY = UtilitySettings(size=16, steps=30, batch_size=12, learning_rate=3e-3, pretrain_steps=60, seeds=(0, 1))


def draw(label: int, seed: int, noise: float, tint: float = 25) -> np.ndarray:
    """A blob of random size and place, tinted by class under a stain that varies by `noise`: (16, 16, 3)."""
    rng = np.random.default_rng((label, seed))
    y, x = np.mgrid[:16, :16]
    inside = np.hypot(x - rng.uniform(5, 10), y - rng.uniform(5, 10)) < rng.uniform(3, 5)
    colour = 90 + tint * np.eye(3)[label]
    picture = np.where(inside[..., None], colour, 200) + noise * rng.normal(size=3) + 20 * rng.normal(size=(16, 16, 3))
    return picture.clip(0, 255).astype(np.uint8)


def write(root, numbers, noise=0.0, classes=(0, 1), labels=None, tint=25.0):
    """root/<class>/<number>.png; `labels` says which class is drawn into each folder instead of its own."""
    for label in classes:
        folder = root / f"class{label}"
        folder.mkdir(parents=True)
        for number in numbers:
            drawn = label if labels is None else labels(label, number)
            Image.fromarray(draw(drawn, 1000 * label + number, noise, tint)).save(folder / f"{number:04d}.png")
    return root


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Each class has 3 real pictures (too few in this noise), 60 synthetic pictures and 60 held-out pictures."""
    root = tmp_path_factory.mktemp("utility")
    write(root / "real", range(3), 15)
    write(root / "synthetic", range(100, 160), 15)
    write(root / "shuffled", range(200, 260), 15, labels=lambda label, number: number % 2)
    write(root / "heldout", range(300, 360), 15)
    write(root / "pretrain", range(400, 460), 15, classes=(0, 1, 2))
    return root


@pytest.fixture(scope="module")
def informative(folders):
    """A run with every row, and the labels of its optimiser steps."""
    labels: list[tuple[str, int, int]] = []
    opened = check_utility(*(folders / name for name in ("real", "synthetic", "heldout", "pretrain")))
    found = run_utility(opened, TINY, lambda *values: labels.append(values))
    return found, labels


def test_informative_synthetic_pictures_help_and_shuffled_ones_do_not(folders, informative):
    shuffled = run_utility(check_utility(folders / "real", folders / "shuffled", folders / "heldout"), TINY)
    good, bad = informative[0].rows["from scratch"], shuffled.rows["from scratch"]
    assert good.arms["real + synthetic"].balanced_accuracy.mean > good.arms["real"].balanced_accuracy.mean + 0.05
    assert good.gains["real + synthetic"].low > 0
    assert bad.arms["real + synthetic"].balanced_accuracy.mean < bad.arms["real"].balanced_accuracy.mean + 0.05
    assert bad.arms["synthetic"].balanced_accuracy.low < 0.55
    assert good.arms["real"] == bad.arms["real"]


def test_every_arm_and_seed_has_the_same_number_of_steps(informative):
    _, steps = informative
    counts = Counter(label for label, _, _ in steps)
    assert counts.pop("pretraining") == TINY.pretrain_steps
    assert counts == {
        f"{row}: {arm}, seed {seed}": TINY.steps
        for row in ("from scratch", "pretrained")
        for arm in ARMS
        for seed in (0, 1)
    }
    assert [done for _, done, _ in steps] == list(range(1, len(steps) + 1))
    assert {total for _, _, total in steps} == {len(steps)}


def test_the_result_is_json_and_says_what_was_used(informative):
    found = json.loads(json.dumps(asdict(informative[0])))
    assert found["class_names"] == ["class0", "class1"]
    assert found["pictures"]["pretrain"] == {"class0": 60, "class1": 60, "class2": 60}
    assert found["settings"]["steps"] == TINY.steps
    assert set(ARMS) <= set(DEFINITIONS)
    for row in found["rows"].values():
        assert list(row["arms"]) == list(ARMS)
        assert list(row["gains"]) == [name for name in GAINS if name in ARMS]
        for arm in row["arms"].values():
            assert np.sum(arm["confusion"], 1).tolist() == [60, 60]
            for estimate in (arm["accuracy"], arm["balanced_accuracy"], arm["auc"], *arm["recall"].values()):
                assert 0 <= estimate["low"] <= estimate["mean"] <= estimate["high"] <= 1


def test_the_same_call_gives_the_same_figures(folders):
    settings = replace(TINY, steps=4, seeds=(5,))
    paths = [folders / name for name in ("real", "synthetic", "heldout")]
    state = torch.random.get_rng_state()
    first, second = (run_utility(check_utility(*paths), settings) for _ in range(2))
    assert first.rows == second.rows
    assert torch.equal(state, torch.random.get_rng_state())
    assert run_utility(check_utility(*paths), replace(settings, seeds=(6,))).rows != first.rows


def test_the_pretrained_row_needs_pictures_to_pretrain_on_and_starts_from_other_weights(folders, informative):
    paths = [folders / name for name in ("real", "synthetic", "heldout")]
    assert list(run_utility(check_utility(*paths), replace(TINY, steps=1, seeds=(0,))).rows) == ["from scratch"]
    scratch, pretrained = informative[0].rows.values()
    assert scratch.arms["real"].balanced_accuracy.mean + 0.05 < pretrained.arms["real"].balanced_accuracy.mean


def test_separable_classes_are_told_apart(tmp_path):
    for name, numbers in (("real", range(16)), ("synthetic", range(20, 36)), ("heldout", range(40, 60))):
        write(tmp_path / name, numbers, classes=(0, 1, 2), tint=120)
    settings = replace(TINY, steps=60, learning_rate=1e-3, seeds=(0,))
    opened = check_utility(*(tmp_path / n for n in ("real", "synthetic", "heldout")))
    row = run_utility(opened, settings).rows["from scratch"]
    for arm in row.arms.values():
        assert [(e.mean, e.low, e.high) for e in (arm.accuracy, arm.balanced_accuracy, arm.auc)] == [(1, 1, 1)] * 3
        assert arm.confusion == [[20, 0, 0], [0, 20, 0], [0, 0, 20]]
    assert row.gains["real + synthetic"].mean == 0


def refused(real, synthetic, heldout, pretrain=None) -> str:
    with pytest.raises(RequestError) as error:
        check_utility(real, synthetic, heldout, pretrain)
    return str(error.value)


def test_wrong_folders_are_refused_before_training(folders, tmp_path):
    real, synthetic, heldout, pretrain = (folders / n for n in ("real", "synthetic", "heldout", "pretrain"))
    one = write(tmp_path / "one", range(2), classes=(1,))
    assert "no such folder" in refused(tmp_path / "nowhere", synthetic, heldout)
    assert "at least two" in refused(one, synthetic, heldout)
    assert "at least two" in refused(real, synthetic, heldout, one)
    assert "class1; class0 missing" in refused(real, one, heldout)
    assert "heldout" in refused(real, synthetic, one)
    assert check_utility(real, pretrain, heldout).ignored == {"synthetic": ["class2"], "heldout": []}


@pytest.mark.parametrize(
    ("source", "target", "allowed"),
    [
        ("real", "heldout", False),
        ("real", "synthetic", False),
        ("synthetic", "heldout", False),
        ("pretrain", "heldout", False),
        ("pretrain", "synthetic", False),
        ("real", "pretrain", True),
    ],
)
def test_a_picture_in_two_folders_is_refused(tmp_path, source, target, allowed):
    paths = {
        name: write(tmp_path / name, range(10 * place, 10 * place + 3))
        for place, name in enumerate(("real", "synthetic", "heldout", "pretrain"))
    }
    leaked = sorted((paths[source] / "class0").iterdir())[0]
    # The copy has another name and another class: only the content counts.
    (paths[target] / "class1" / "renamed.png").write_bytes(leaked.read_bytes())
    if allowed:
        assert len(check_utility(*paths.values()).classes["pretrain"]["class1"]) == 4
    else:
        message = refused(*paths.values())
        assert "renamed.png" in message
        assert str(leaked) in message


def test_a_corrupt_picture_is_refused(folders, tmp_path):
    heldout = write(tmp_path / "heldout", range(900, 903))
    broken = heldout / "class1" / "0901.png"
    broken.write_bytes(broken.read_bytes()[:200])
    assert "0901.png" in refused(folders / "real", folders / "synthetic", heldout)


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"size": 8}, "--size"),
        ({"steps": 0}, "--steps"),
        ({"batch_size": 7}, "batch_size"),
        ({"learning_rate": 0.0}, "learning_rate"),
        ({"pretrain_steps": 0}, "--pretrain-steps"),
        ({"seeds": ()}, "seeds"),
        ({"seeds": (1, 1)}, "seeds"),
        ({"resamples": 0}, "resamples"),
    ],
)
def test_wrong_settings_are_refused(wrong, name):
    with pytest.raises(RequestError) as refused:
        UtilitySettings(**wrong)
    assert refused.value.subject in (name, f"The setting {name}")
