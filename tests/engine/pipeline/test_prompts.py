"""Prompts that a user gives."""

from __future__ import annotations

import numpy as np
from PIL import Image


def test_a_free_prompt_changes_the_picture_and_the_classs_own_does_not(in_process, tiny_bundle, tmp_path):
    arguments = ["--bundle", tiny_bundle, "--class", "cyt_mast", "--n", 1, "--precision", "f32"]
    found = {}
    for name, extra in {"own": [], "same": ["--prompt", "cyt mast"], "other": ["--prompt", "cyt nep mast"]}.items():
        done = in_process("engine", "generate", *arguments, *extra, "--guidance-scale", 8, "--out", tmp_path / name)
        assert done.returncode == 0, done.stderr
        with Image.open(tmp_path / name / "cyt_mast/000000.png") as picture:
            found[name] = np.asarray(picture).astype(int)
    # The class's own prompt was encoded by torch in float32, the free one by the bundle's float16 graph.
    assert np.abs(found["own"] - found["same"]).max() <= 2
    assert np.abs(found["own"] - found["other"]).max() > 2
