"""Energy scores are lowest for draws from the distribution of the photographs."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from trainer.pretraining.energy import Draws, PixelScore, VectorSet, energy_score, feature_scores

GRAIN = {
    "grain like the photographs'": lambda x: x,
    "no grain": lambda x: 0 * x,
    "twice the grain": lambda x: 2 * x,
    "blurred grain": lambda x: 2 * functional.avg_pool2d(x, 3, 1, 1),
}


@pytest.fixture(scope="module")
def scores():
    """The score of each kind of grain, by pixels and by maps of features, averaged over 40 draws."""
    generator = torch.Generator().manual_seed(0)
    found = {name: [0.0, 0.0] for name in GRAIN}
    score, flat = PixelScore(), torch.zeros(2, 3, 24, 24)
    for _ in range(40):
        noise = 0.2 * torch.randn(3, 2, 3, 24, 24, generator=generator)
        state = generator.get_state()
        for name, change in GRAIN.items():
            draws = Draws(change(noise[0]), change(noise[1]), noise[2])
            found[name][0] += float(score(draws, flat, generator.set_state(state)))
            both = torch.cat([draws.first, draws.second])
            found[name][1] += float(feature_scores([both.abs(), both.abs()], [draws.wanted.abs()] * 2))
    return found


@pytest.mark.parametrize("name", list(GRAIN)[1:])
def test_wrong_grain_scores_worse_than_right_grain(scores, name):
    right, wrong = scores["grain like the photographs'"], scores[name]
    assert right[0] < 0.95 * wrong[0]
    assert right[1] < 0.95 * wrong[1]


def test_the_score_of_one_known_picture_is_its_mean_absolute_error():
    y = torch.rand(2, 3, 4, 4)
    assert energy_score(Draws(y + 0.25, y + 0.25, y)) == pytest.approx(0.25)


def test_the_distance_of_sets_is_zero_for_one_distribution_and_grows_with_a_shift():
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 400, 3, generator=generator)
    wanted = VectorSet(other)
    near, far = float(wanted.distance_of(one)), float(wanted.distance_of(one + 2))
    assert abs(near) < 0.02
    assert far > 2
