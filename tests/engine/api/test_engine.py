"""The library makes the same pictures as the command line: lazily, at any index, in any process."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine import Engine
from engine.errors import CytosynthError, RequestError
from engine.pipeline.rescue import Rescue
from tests.engine.api.examples import data_of


def test_batches_are_what_the_command_line_writes(pictures, in_process, tiny_bundle, tmp_path):
    from PIL import Image

    arguments = ["--bundle", tiny_bundle, "--class", "cyt_mast", "--n", 7, "--seed", 5, "--steps", 3]
    assert in_process("engine", "generate", *arguments, "--out", tmp_path / "out").returncode == 0
    for i, wanted in enumerate(pictures):
        with Image.open(tmp_path / f"out/cyt_mast/{i:06d}.png") as picture:
            np.testing.assert_array_equal(np.asarray(picture), wanted)


def test_generate_is_lazy_and_checks_at_once(tiny_bundle):
    engine = Engine.open(str(tiny_bundle))
    assert engine.class_names == ("cyt_mast", "cyt_nep_mast")
    with pytest.raises(RequestError, match="--n"):
        engine.generate("cyt_mast", 0)
    endless = engine.generate("cyt_mast", 10**9, num_inference_steps=1)
    assert next(iter(endless)).images.shape == (4, 32, 32, 3)


def test_a_picture_that_is_none_is_left_out_and_its_neighbours_are_not(pictures, tiny_bundle, monkeypatch):
    check = Rescue.check

    def spoilt(self, seeds, *values):
        checked = check(self, seeds, *values)
        return replace(checked, troubles=["blank" if seed == 6 else "" for seed in seeds[: len(checked.images)]])

    monkeypatch.setattr(Rescue, "check", spoilt)
    with pytest.warns(RuntimeWarning, match="seed 6"):
        batches = list(Engine.open(str(tiny_bundle)).generate("cyt_mast", 7, seed=5, num_inference_steps=3))
    assert [seed for batch in batches for seed in batch.seeds] == [5, 7, 8, 9, 10, 11]
    found = np.concatenate([batch.images for batch in batches])
    np.testing.assert_array_equal(found, np.delete(pictures, 1, axis=0))
    data = data_of(tiny_bundle)
    np.testing.assert_array_equal(data[2][0], pictures[2])
    with pytest.raises(CytosynthError, match="blank"):
        data[1]
