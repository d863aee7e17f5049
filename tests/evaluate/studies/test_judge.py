"""`judge`: which class synthetic pictures show, beside what its word is worth on held-out real ones."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from scipy.stats import binomtest

from engine.errors import RequestError
from evaluate.studies.judge import JudgeSettings, check_judge, judge

pytestmark = pytest.mark.usefixtures("one_thread")
TINY = JudgeSettings(size=16, steps=60)


def write(folder, colour, count, seed):
    """Noisy pictures of one colour."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for number in range(count):
        picture = np.clip(np.asarray(colour) + rng.normal(0, 20, (16, 16, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(picture).save(folder / f"{number:03d}.png")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Red and blue cells in two training folders; a faithful set, and one whose red cells are blue."""
    root = tmp_path_factory.mktemp("judge")
    red, blue = (200, 90, 90), (90, 90, 200)
    for seed, (name, first, second) in enumerate(
        [("one", red, blue), ("two", red, blue), ("held", red, blue), ("faithful", red, blue), ("swapped", blue, blue)]
    ):
        write(root / name / "red", first, 12, 2 * seed)
        write(root / name / "blue", second, 12, 2 * seed + 1)
    return root


def opened(folders, *synthetic):
    return check_judge([folders / "one", folders / "two"], folders / "held", [folders / name for name in synthetic])


def test_it_tells_the_intended_class_from_another_and_repeats_itself(folders):
    found = judge(opened(folders, "faithful", "swapped"), TINY)
    faithful, swapped = found.synthetic.values()
    assert found.held_out_accuracy == 1
    assert faithful["red"].intended == 1
    assert swapped["red"].given == {"blue": 12, "red": 0}
    interval = binomtest(12, 12).proportion_ci(0.9, "wilson")
    assert (faithful["red"].low, faithful["red"].high) == (interval.low, interval.high)
    assert judge(opened(folders, "faithful"), TINY).weights_sha256 == found.weights_sha256


def test_synthetic_pictures_do_not_change_the_judge(folders):
    assert (
        judge(opened(folders, "faithful"), TINY).weights_sha256
        == judge(opened(folders, "swapped"), TINY).weights_sha256
    )


def test_refusals(folders, tmp_path):
    with pytest.raises(RequestError, match="at least two"):
        check_judge([tmp_path], folders / "held", [])
    shutil.copytree(folders / "faithful/red", tmp_path / "set/green")
    with pytest.raises(RequestError, match="wrong: green"):
        check_judge([folders / "one"], folders / "held", [tmp_path / "set"])
    with pytest.raises(RequestError, match="more than one of --held-out, --train"):
        check_judge([folders / "one"], folders / "one", [folders / "faithful"])
    shutil.copytree(folders / "held/red", tmp_path / "half/red")
    with pytest.raises(RequestError, match="wrong: blue"):
        check_judge([folders / "one"], tmp_path / "half", [folders / "faithful"])
    with pytest.raises(RequestError, match="at least 16 pixels"):
        JudgeSettings(size=8)


def test_the_command_reports_both_sides(folders, in_process, tmp_path):
    words = ["--train", folders / "one", "--train", folders / "two", "--held-out", folders / "held"]
    done = in_process(
        "evaluate", "judge", folders / "swapped", *words, "--steps", 60, "--size", 16, "--out", tmp_path / "record"
    )
    assert done.returncode == 0, done.stderr
    assert "red is given its own class in 0.0%" in done.stdout
    assert "(real: 100.0%)" in done.stdout
    record = json.loads((tmp_path / "record/record.json").read_text())
    assert record["results"]["synthetic"][str(folders / "swapped")]["red"]["given"] == {"blue": 12, "red": 0}
    report = in_process("evaluate", "report", tmp_path / "record", "--out", tmp_path / "report.html")
    assert report.returncode == 0, report.stderr
    assert "red is given its own class in 0.0%" in (tmp_path / "report.html").read_text()
