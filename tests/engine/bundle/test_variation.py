import pytest

from engine.bundle.settings import VariationSettings
from engine.bundle.variation import variation_request
from engine.errors import RequestError
from engine.sampling.noise import MAX_SEED
from engine.sampling.variation import Variation


def made(previous=None, **options):
    return variation_request(VariationSettings(**options), 4, 8, previous)


def test_a_variation_is_made_of_a_strength_or_a_size():
    assert made() is None
    assert made(variation_strength=0.2, variation_seed=7) == Variation(7, 0.2)
    assert made(noise_size=(64, 32)) == Variation(None, 0.0, 64, 32)


def test_a_random_seed_is_that_of_the_run_to_resume():
    drawn = made(variation_strength=0.2)
    assert drawn != made(variation_strength=0.2)
    assert made({"variation": {"seed": drawn.seed}}, variation_strength=0.2) == drawn
    assert made({"variation": {"seed": drawn.seed}}, variation_strength=0.2, variation_seed=-1) == drawn


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"variation_seed": 3}, "--variation-seed"),
        ({"variation_strength": 1.5}, "--variation-strength"),
        ({"variation_strength": 0.1, "variation_seed": MAX_SEED}, "--variation-seed"),
        ({"noise_size": (60, 64)}, "--noise-size"),
        ({"noise_size": (64, 0)}, "--noise-size"),
    ],
)
def test_a_wrong_value_is_refused_by_name(options, flag):
    with pytest.raises(RequestError, match=flag):
        made(**options)
