"""`utility`: what each arm is taught, what its figures mean, and what is refused."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import accuracy_score, balanced_accuracy_score, roc_auc_score

from engine.errors import RequestError
from evaluate.studies.classifier import augment, make_classifier, predict
from evaluate.studies.utility import ARMS, DEFINITIONS, UtilitySettings, check_utility, run_utility
from evaluate.studies.utility_figures import GAINS, measure_row

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
    """Three real pictures a class, which say little in this noise; 60 synthetic ones that say much; 60 held out."""
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
        assert list(row["gains"]) == list(GAINS)
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


def test_the_pretrained_row_stands_only_where_asked_and_starts_elsewhere(folders, informative):
    paths = [folders / name for name in ("real", "synthetic", "heldout")]
    assert list(run_utility(check_utility(*paths), replace(TINY, steps=1, seeds=(0,))).rows) == ["from scratch"]
    scratch, pretrained = informative[0].rows.values()
    assert scratch.arms["real"].balanced_accuracy.mean + 0.05 < pretrained.arms["real"].balanced_accuracy.mean


def test_a_start_gives_its_body_and_not_its_head():
    start = make_classifier(3, 7)
    same, other = make_classifier(2, 0, start), make_classifier(2, 0)
    torch.testing.assert_close(same.body.state_dict(), start.body.state_dict(), rtol=0, atol=0)
    assert torch.equal(same.head.weight, other.head.weight)
    assert not torch.equal(other.body[0].weight, start.body[0].weight)


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


def random_predictions(classes: int, each: int, seeds: int = 3, seed: int = 0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), each)
    raw = rng.uniform(size=(seeds, len(labels), classes)).round(1) + 0.2 + 0.5 * np.eye(classes)[labels]
    return raw / raw.sum(2, keepdims=True), labels


@pytest.mark.parametrize("classes", [2, 4])
def test_the_figures_are_scikit_learns_and_their_intervals_surround_them(classes):
    found, labels = random_predictions(classes, 30)
    names = [f"class{label}" for label in range(classes)]
    arm = measure_row({"real": found}, labels, names, resamples=500).arms["real"]
    predicted = found.argmax(2)
    assert arm.accuracy.mean == pytest.approx(np.mean([accuracy_score(labels, p) for p in predicted]))
    assert arm.balanced_accuracy.mean == pytest.approx(np.mean([balanced_accuracy_score(labels, p) for p in predicted]))
    areas = [roc_auc_score(labels == c, p[:, c]) for p in found for c in range(1 if classes == 2 else 0, classes)]
    assert arm.auc.mean == pytest.approx(np.mean(areas))
    for estimate in (arm.accuracy, arm.balanced_accuracy, arm.auc, *arm.recall.values()):
        assert estimate.low < estimate.mean < estimate.high


def test_a_prediction_made_by_hand():
    # Class a: 2 of 3 right; class b: 1 of 1; of the three pairs two are in order and one is a tie.
    found = np.array([[[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.3, 0.7]]])
    arm = measure_row({"real": found}, np.array([0, 0, 0, 1]), ["a", "b"]).arms["real"]
    assert arm.accuracy.mean == 0.75
    assert arm.balanced_accuracy.mean == pytest.approx((2 / 3 + 1) / 2)
    assert arm.auc.mean == pytest.approx(2.5 / 3)
    assert arm.recall["b"].mean == 1
    assert arm.confusion == [[2, 1], [0, 1]]


def width(estimate) -> float:
    return estimate.high - estimate.low


def test_the_bootstrap_has_the_width_of_the_binomial_law():
    found, labels = random_predictions(2, 400, seeds=1)
    arm = measure_row({"real": found}, labels, ["a", "b"]).arms["real"]
    share = arm.recall["a"].mean
    assert width(arm.recall["a"]) == pytest.approx(2 * 1.645 * np.sqrt(share * (1 - share) / 400), rel=0.15)


def test_intervals_shrink_with_pictures_and_widen_where_pictures_share_a_source():
    found, labels = random_predictions(3, 200)
    few = np.concatenate([np.arange(200 * label, 200 * label + 20) for label in range(3)])
    names = ["a", "b", "c"]
    many = measure_row({"real": found}, labels, names).arms["real"]
    smaller = measure_row({"real": found[:, few]}, labels[few], names).arms["real"]
    # Ten copies of each picture say no more than the picture.
    copies = np.repeat(few, 10)
    sources = np.repeat(np.arange(len(few)).astype(str), 10)
    copied = measure_row({"real": found[:, copies]}, labels[copies], names, sources=sources).arms["real"]
    for name in ("accuracy", "balanced_accuracy", "auc"):
        assert width(getattr(many, name)) < 0.7 * width(getattr(smaller, name))
        assert getattr(copied, name) == getattr(smaller, name)


def test_the_gain_is_paired():
    found, labels = random_predictions(2, 50)
    row = measure_row({"real + classical": found, "real + synthetic": found}, labels, ["a", "b"])
    assert asdict(row.gains["real + synthetic"]) == {"mean": 0, "low": 0, "high": 0}
    assert width(row.arms["real + synthetic"].balanced_accuracy) > 0


def test_augmentation_keeps_the_range_and_probabilities_add_to_one():
    pictures = np.stack([draw(0, seed, 25) for seed in range(6)])
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2).float()
    first, second = (augment(images, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert first.shape == images.shape
    assert 0 <= first.min() <= first.max() <= 255
    assert (first - images).abs().mean() > 5
    # The same picture six times: every copy is changed in its own way, and stays about as bright.
    copies = augment(images[:1].repeat(6, 1, 1, 1), torch.Generator().manual_seed(0))
    assert (copies[0] - copies[1:]).abs().mean((1, 2, 3)).min() > 1
    assert float(copies.mean()) == pytest.approx(float(images[0].mean()), rel=0.1)
    np.testing.assert_allclose(predict(make_classifier(3, 0), pictures).sum(1), 1)


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
    # Under another name and another class: the content counts.
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
    "wrong",
    [
        {"size": 8},
        {"steps": 0},
        {"batch_size": 7},
        {"learning_rate": 0.0},
        {"pretrain_steps": 0},
        {"seeds": ()},
        {"seeds": (1, 1)},
        {"resamples": 0},
    ],
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(RequestError, match=next(iter(wrong))):
        UtilitySettings(**wrong)
