"""`score`: floor, intervals and controls, and the number of pictures that they need."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from engine.errors import RequestError
from evaluate.encoders.features import Cyto, blurred_features, features_of
from evaluate.images import open_folder
from evaluate.studies.score import Compared, ScoreSettings, compare_folders, not_measured, sample_size, score


def gaussians(seed: int, n: int, mean: float = 0.0):
    rng = np.random.default_rng(seed)
    layers = {"features": 8, "logits": 6}
    return {name: mean + rng.standard_normal((n, width)) for name, width in layers.items()}


def compared(fake_mean: float = 0.0, blurred_mean: float = 2.0, n: int = 400, other: bool = True) -> Compared:
    return Compared(
        gaussians(0, n),
        gaussians(1, n, blurred_mean),
        gaussians(2, n, fake_mean),
        gaussians(3, n, -2.0) if other else None,
        [str(i) for i in range(n)],
    )


def test_a_good_generator_scores_at_the_floor_and_a_bad_one_above_every_interval():
    settings = ScoreSettings(n=150, splits=6, bootstrap=30)
    good, bad = (score("cyto", compared(mean), settings) for mean in (0.0, 1.0))
    for name in ("FD-cyto", "KD-cyto"):
        assert good[name].fake.value < 2 * good[name].floor.high
        assert bad[name].fake.low > 3 * bad[name].floor.high
        assert all(good[name].clear.values())
    assert good["recall-cyto"].fake.value > 0.7 > bad["recall-cyto"].fake.value
    assert not good["recall-cyto"].clear
    for name, found in good.items():
        assert found.fake.low <= found.fake.value <= found.fake.high
        if name.startswith(("precision", "recall", "coverage")):
            assert found.fake.low >= 0
            assert found.fake.high <= 1


@pytest.mark.soak
@pytest.mark.parametrize("fakes", [40, 120])
def test_the_interval_is_as_wide_as_the_figure_varies(fakes):
    """Over new pictures of the same two distributions: neither too narrow nor too wide, and around the true value."""
    found = []
    for seed in range(24):
        rng = np.random.default_rng(1000 + seed)
        drawn = (rng.standard_normal((80, 4)), 0.7 + rng.standard_normal((fakes, 4)))
        real, fake = ({"features": values, "logits": values} for values in drawn)
        pictures = Compared(real, real, fake, None, [str(i) for i in range(80)])
        found.append(score("cyto", pictures, ScoreSettings(n=40, splits=6, bootstrap=40)))
    for name in ("FD-cyto", "KD-cyto", "recall-cyto"):
        figures = [scores[name].fake for scores in found]
        spread = np.ptp(np.percentile([figure.value for figure in figures], [5, 95]))
        assert 0.6 < np.mean([figure.high - figure.low for figure in figures]) / spread < 1.7
        truth = np.mean([figure.value for figure in figures])
        assert sum(figure.low <= truth <= figure.high for figure in figures) >= 17


def test_a_control_that_looks_like_the_floor_makes_the_figure_insensitive():
    found = score("cyto", compared(blurred_mean=0.0, other=False), ScoreSettings(n=100, splits=6, bootstrap=20))
    for name in ("FD-cyto", "KD-cyto"):
        assert found[name].clear["blurred reals"] is False
        assert found[name].sensitive is False
        assert "another class" not in found[name].controls


def test_ten_repeated_reals_are_a_control_from_n_of_20():
    for n, measured in ((19, False), (20, True)):
        found = score("cyto", compared(n=2 * n), ScoreSettings(n=n, splits=2, bootstrap=20))
        assert ("ten repeated reals" in found["FD-cyto"].controls) == measured


def test_fewer_pictures_than_n_are_refused():
    few = replace(compared(n=60), fake=gaussians(2, 10))
    with pytest.raises(RequestError, match="10 synthetic"):
        score("cyto", few, ScoreSettings(n=30))


def test_copies_of_one_source_are_never_on_both_sides():
    """Ten sources with ten pictures each: if single pictures were split, the floor would be nearly zero."""
    real = {name: np.repeat(values, 10, axis=0) for name, values in gaussians(0, 10).items()}
    together = Compared(real, real, gaussians(2, 50), None, np.repeat(np.arange(10), 10).astype(str).tolist())
    apart = Compared(real, real, gaussians(2, 50), None, [str(i) for i in range(100)])
    settings = ScoreSettings(n=50, splits=6, bootstrap=20)
    floors = [score("cyto", one, settings)["FD-cyto"].floor for one in (together, apart)]
    assert floors[0].low > 3 * floors[1].high
    assert sample_size(together.sources, 50, {}, None) == 50


def test_the_seed_decides_every_figure():
    settings = ScoreSettings(n=20, splits=3, bootstrap=20)
    first, again, other = (score("cyto", compared(n=60), replace(settings, seed=seed)) for seed in (1, 1, 2))
    assert first == again != other


def test_n_is_the_largest_number_that_every_figure_can_use():
    def sources(n):
        return [str(i) for i in range(n)]

    assert sample_size(sources(600), 1000, {"--other": 200}, None) == 200
    assert sample_size(sources(301), 1000, {}, None) == 150
    assert sample_size(["a"] * 9 + ["b", "c", "d"], 1000, {}, None) == 2
    for arguments in ((3, 100, {}, None), (100, 100, {}, 51), (100, 100, {"--other": 30}, 31), (100, 100, {}, 1)):
        with pytest.raises(RequestError, match="number of pictures"):
            sample_size(sources(arguments[0]), *arguments[1:])


def test_figures_that_need_more_pictures_say_so_and_the_rest_are_measured():
    found = score("cyto", compared(n=10), ScoreSettings(n=5, splits=2, bootstrap=20))
    assert set(found) == {"FD-cyto", "KD-cyto", "IS-cyto-1"}
    said = not_measured("cyto", 5)
    assert said["IS-cyto-10"] == "needs 10 pictures; N is 5"
    assert said["recall-cyto"] == "needs 6 pictures; N is 5"


def test_compare_folders_takes_the_features_of_each_folder(phantoms):
    real, fake = (open_folder(phantoms / name / "cyt_mast") for name in ("real", "synthetic"))
    encoder = Cyto()
    found = compare_folders(encoder, {"REAL": real, "FAKE": fake})
    np.testing.assert_array_equal(found.fake["features"], features_of(encoder, fake)["features"])
    np.testing.assert_array_equal(found.blurred["features"], blurred_features(encoder, real)["features"])
    assert len(found.real["features"]) == len(found.sources) == 24


def test_scores_can_be_written_as_json():
    found = score("cyto", compared(n=40), ScoreSettings(n=12, splits=2, bootstrap=20))
    assert json.loads(json.dumps({name: asdict(one) for name, one in found.items()}))
