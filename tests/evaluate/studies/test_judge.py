"""`judge`: which class synthetic pictures show, beside the judge's accuracy on held-out real ones."""

from __future__ import annotations

import shutil

import pytest
from scipy.stats import binomtest

from engine.errors import RequestError
from evaluate.studies.judge import JudgeSettings, check_judge, judge

pytestmark = pytest.mark.usefixtures("one_thread")


TINY = JudgeSettings(size=16, steps=60)


def opened(folders, *synthetic):
    return check_judge([folders / "one", folders / "two"], folders / "held", [folders / name for name in synthetic])


def test_the_judge_tells_classes_apart_and_is_deterministic(coloured_sets):
    found = judge(opened(coloured_sets, "faithful", "swapped"), TINY)
    faithful, swapped = found.synthetic.values()
    assert found.held_out_accuracy == 1
    assert faithful["red"].intended == 1
    assert swapped["red"].given == {"blue": 12, "red": 0}
    interval = binomtest(12, 12).proportion_ci(0.9, "wilson")
    assert (faithful["red"].low, faithful["red"].high) == (interval.low, interval.high)
    assert judge(opened(coloured_sets, "faithful"), TINY).weights_sha256 == found.weights_sha256


def test_synthetic_pictures_do_not_change_the_judge(coloured_sets):
    assert (
        judge(opened(coloured_sets, "faithful"), TINY).weights_sha256
        == judge(opened(coloured_sets, "swapped"), TINY).weights_sha256
    )


def test_wrong_folders_and_settings_are_refused(coloured_sets, tmp_path):
    with pytest.raises(RequestError, match="at least two"):
        check_judge([tmp_path], coloured_sets / "held", [])
    shutil.copytree(coloured_sets / "faithful/red", tmp_path / "set/green")
    with pytest.raises(RequestError, match="wrong: green"):
        check_judge([coloured_sets / "one"], coloured_sets / "held", [tmp_path / "set"])
    with pytest.raises(RequestError, match="more than one of --held-out, --train"):
        check_judge([coloured_sets / "one"], coloured_sets / "one", [coloured_sets / "faithful"])
    shutil.copytree(coloured_sets / "held/red", tmp_path / "half/red")
    with pytest.raises(RequestError, match="wrong: blue"):
        check_judge([coloured_sets / "one"], tmp_path / "half", [coloured_sets / "faithful"])
    with pytest.raises(RequestError, match=r"--size[\s\S]*at least 16"):
        JudgeSettings(size=8)
