"""Settings of `fit` and `embed`."""

from __future__ import annotations

import pytest

from engine.errors import RequestError
from trainer.fitting.settings import ClassTrainingSettings, FitOptions


@pytest.mark.parametrize(
    ("values", "flag"),
    [
        ({"latent_sampling": "never"}, "--latent-sampling"),
        ({"snr_gamma": 0}, "--snr-gamma"),
        ({"tag_dropout": 1.0}, "--tag-dropout"),
    ],
)
def test_values_outside_their_range_name_their_option(values, flag):
    with pytest.raises(RequestError, match=flag):
        FitOptions(**values)


def test_the_defaults_state_no_licence():
    record = ClassTrainingSettings().record
    assert (record.licence, record.attribution) == ("not stated", "not stated")
