"""The command line refuses wrong requests with exit code 2."""

from __future__ import annotations

import pytest

WRONG = {
    "no rounds": (["--rounds", 0], "at least 1"),
    "no batch": (["--batch-size", "0"], "above 0"),
    "no such system": (["--system", "engnie"], "diffusers float32"),
    "a guided step without guidance": (["--part", "step", "--guidance-scale", 1], "--guidance-scale"),
    "no such preset": (["--preset", "turbo"], "one of none, the presets of the bundle"),
    "a part without its preset": (["--preset", "turbo", "--part", "step"], "the part picture alone"),
    "no such part": (["--part", "encode"], "picture, step, decode"),
    "no folder for the record": (["--record", "/nowhere/at/all.json"], "no folder"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_comparison_is_refused(case, in_process, tiny_bundle, whole_path):
    extra, words = WRONG[case]
    done = in_process("benchmarks", "peers", tiny_bundle, "--merged", whole_path / "merged/cyt_mast", *extra)
    assert done.returncode == 2
    assert words in done.stderr
