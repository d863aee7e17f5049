"""Settings of a request from the names of their fields."""

from __future__ import annotations

import pytest

from engine.bundle.settings import RequestSettings, parse_batch_size, parse_sampler, settings_of
from engine.errors import RequestError


def test_options_reach_the_group_that_declares_them():
    settings = settings_of(sampler="ddim", guidance_scale=2.0, width=64, backend="openvino")
    found = (settings.sampling.sampler, settings.guidance.guidance_scale, settings.picture.width)
    assert (*found, settings.hardware.backend) == ("ddim", 2.0, 64, "openvino")
    assert settings_of() == RequestSettings()


def test_an_unknown_option_is_named_beside_the_known_ones():
    with pytest.raises(TypeError, match=r"unknown options steps; known are .*num_inference_steps"):
        settings_of(steps=3)


def test_a_sampler_without_a_fixed_table_is_refused_with_the_reason():
    with pytest.raises(RequestError, match=r"dpm_adaptive: it chooses each step by the error"):
        parse_sampler("dpm_adaptive")
    assert parse_sampler("heun") == "heun"


def test_a_batch_size_is_a_number_or_auto():
    assert (parse_batch_size("16"), parse_batch_size("auto")) == (16, "auto")
    for text in ("many", "", "1.5", "-1", "²"):
        with pytest.raises(RequestError, match="--batch-size"):
            parse_batch_size(text)
