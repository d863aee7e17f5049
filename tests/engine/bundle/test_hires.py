"""The second pass of a request, checked against the bundle and the first pass."""

from __future__ import annotations

import dataclasses

import pytest

from engine.bundle.folder import open_bundle
from engine.bundle.job import make_job
from engine.bundle.settings import settings_of
from engine.errors import RequestError


@pytest.fixture
def bundle(tiny_bundle):
    return open_bundle(str(tiny_bundle))


def job_of(bundle, **options):
    return make_job(bundle, ["cyt_mast"], 1, settings_of(num_inference_steps=5, **options))


def test_a_scale_or_a_size_makes_a_second_pass(bundle):
    assert job_of(bundle).second_pass is None
    scaled = job_of(bundle, hires_scale=1.5, hires_strength=0.5)
    assert scaled.request.final_size == (48, 48)
    second = scaled.second_pass
    assert (second.request.width, second.request.height, second.request.hires) == (48, 48, None)
    # Exactly the steps that were asked for, from the tail of a finer schedule.
    assert len(second.plan.rows) == 5
    assert second.plan.initial_scale < scaled.plan.initial_scale / 2
    sized = job_of(bundle, hires_size=(64, 32), hires_steps=2)
    assert sized.request.final_size == (64, 32)
    assert len(sized.second_pass.plan.rows) == 2
    assert sized.request.as_json()["hires"] == {
        "width": 64,
        "height": 32,
        "upscaler": "lanczos",
        "steps": 2,
        "strength": 0.4,
    }
    assert "hires" not in job_of(bundle).request.as_json()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"hires_scale": 1.0}, "--hires-scale"),
        ({"hires_scale": 1.1}, "--hires-scale"),
        ({"hires_scale": 2.0, "hires_size": (64, 64)}, "--hires-scale"),
        ({"hires_size": (16, 64)}, "--hires-size"),
        ({"hires_size": (64, 8192)}, "--hires-size"),
        ({"hires_upscaler": "latent"}, "--hires-upscaler"),
        ({"hires_scale": 2.0, "hires_upscaler": "esrgan"}, "--hires-upscaler"),
        ({"hires_scale": 2.0, "hires_steps": 1001}, "--hires-steps"),
        ({"hires_scale": 2.0, "hires_strength": 0.001}, "--hires-steps / --hires-strength"),
        ({"hires_strength": 0.3}, "--hires-strength"),
    ],
)
def test_what_cannot_be_drawn_is_refused(bundle, options, named):
    with pytest.raises(RequestError) as caught:
        job_of(bundle, **options)
    assert str(caught.value).splitlines()[0].endswith(named)


def test_a_second_pass_excludes_initial_pictures(bundle, tmp_path):
    with pytest.raises(RequestError, match="engine upscale"):
        job_of(bundle, hires_scale=2.0, init=tmp_path)


def test_a_bundle_without_an_encoder_says_how_to_add_it(bundle, tmp_path):
    bare = dataclasses.replace(bundle, manifest=dataclasses.replace(bundle.manifest, vae_encoder=None))
    for options in ({"init": tmp_path}, {"hires_scale": 2.0}):
        with pytest.raises(RequestError, match="python -m exporter onnx"):
            job_of(bare, **options)
    assert job_of(bare, hires_scale=2.0, hires_upscaler="latent").second_pass is not None
