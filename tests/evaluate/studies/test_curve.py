"""Scores of checkpoints, and what the thesis published beside them."""

from __future__ import annotations

import numpy as np

from evaluate.images import open_folder
from evaluate.studies.curve import published_of, score_all
from evaluate.studies.score import ScoreSettings


class Colours:
    """An encoder whose features are the mean colours, with the layers of cyto."""

    name, sha256, size = "cyto", "0", 64

    def __call__(self, pictures):
        colours = pictures.mean((1, 2)).astype(np.float32)
        return {"features": colours, "logits": colours}


def test_every_checkpoint_is_scored_and_the_other_class_is_the_next_one(phantoms):
    reals = {name: open_folder(phantoms / "real" / name) for name in ("cyt_mast", "cyt_kist_mast")}
    fake = open_folder(phantoms / "synthetic/cyt_mast")
    fakes = {"cyt_mast": {5000: fake, 10000: fake}, "cyt_kist_mast": {5000: fake}}
    settings = ScoreSettings(n=6, splits=10, bootstrap=20)
    scores = score_all([Colours()], reals, fakes, settings)
    assert {name: list(by_step) for name, by_step in scores.items()} == {
        "cyt_mast": [5000, 10000],
        "cyt_kist_mast": [5000],
    }
    first, second = (scores["cyt_mast"][steps]["FD-cyto"] for steps in (5000, 10000))
    assert first == second
    assert "another class" in first.controls
    alone = score_all([Colours()], {"cyt_mast": reals["cyt_mast"]}, {"cyt_mast": {5000: fake}}, settings)
    assert "another class" not in alone["cyt_mast"][5000]["FD-cyto"].controls


def test_a_class_that_the_thesis_lacks_has_nothing_published():
    found = published_of(["cyt_nep_mast", "neutrophil"])
    assert list(found) == ["cyt_nep_mast"]
    assert found["cyt_nep_mast"].table == "3.6"
    assert found["cyt_nep_mast"].values[5000] == (0.60, 2.48)
