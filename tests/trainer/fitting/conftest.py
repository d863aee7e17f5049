"""What the tests of `fit` and `embed` share."""

from __future__ import annotations

import pytest


@pytest.fixture
def fit_it(in_process, whole_path, tmp_path):
    def run(out, *options, data="prepared/cyt_mast"):
        arguments = [whole_path / data, "--base", whole_path / "base", "--out", tmp_path / out]
        arguments += ["--class", "cyst", "--preset", "sd15"]
        return in_process("trainer", "fit", *arguments, *options)

    return run
