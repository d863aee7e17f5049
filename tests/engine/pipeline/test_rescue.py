"""Bad pictures are made again in float32, or recorded as failed."""

from __future__ import annotations

import json

import numpy as np
from PIL import Image

from tests.engine.folders import contents
from tests.engine.poisoned import keep_bad, poisoned_run


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_bad_pictures_are_made_again_in_float32_and_say_so(stochastic, tmp_path):
    """A decoder that draws grain repeats its noise."""
    result = poisoned_run(stochastic / "bundle", tmp_path / "out")
    assert (result.made, result.failed, result.stopped) == (11, 0, False)
    rows = [json.loads(line) for line in (tmp_path / "out/metadata.jsonl").read_text().splitlines()]
    rescued = {row["seed"]: row["rescued"] for row in rows if "rescued" in row}
    assert rescued == {4: "openvino f32, was not finite", 6: "openvino f32, was blank"}
    with Image.open(tmp_path / "out/cyt_mast/000006.png") as picture:
        assert np.ptp(np.asarray(picture)) > 3
        assert json.loads(picture.text["cytosynth"])["rescued"] == rescued[6]
    poisoned_run(stochastic / "bundle", tmp_path / "whole", spoil=lambda *_: None)
    for seed in range(11):
        name = f"cyt_mast/{seed:06d}.png"
        np.testing.assert_array_equal(pixels(tmp_path / "out" / name), pixels(tmp_path / "whole" / name))


def test_a_seed_that_stays_bad_is_recorded_and_the_run_goes_on(tiny_bundle, tmp_path, monkeypatch):
    keep_bad(monkeypatch)
    out = tmp_path / "out"
    result = poisoned_run(tiny_bundle, out)
    assert (result.made, result.total, result.failed) == (10, 10, 1)
    failed = json.loads((out / "failed.jsonl").read_text())
    assert failed == {"chunk": 1, "class": "cyt_mast", "seed": 4, "reason": "not finite"}
    assert not (out / "cyt_mast/000004.png").exists()
    assert json.loads((out / "run.json").read_text())["failed"] == 1
    before = contents(out)
    again = poisoned_run(tiny_bundle, out)
    assert (again.made, again.failed) == (0, 1)
    after = contents(out)
    assert {name for name in before if before[name] != after[name]} <= {"run.json"}
