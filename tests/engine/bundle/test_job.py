"""A job holds the tables of its request, also after the request has changed."""

from __future__ import annotations

from engine.bundle.folder import open_bundle
from engine.bundle.job import make_job
from engine.bundle.settings import settings_of


def test_a_changed_request_has_the_tables_of_its_values(tiny_bundle):
    bundle = open_bundle(str(tiny_bundle))
    job = make_job(bundle, ["cyt_mast"], 3, settings_of(num_inference_steps=5, guidance_scale=3.0))
    assert job.scales == (3.0,) * 5
    changed = job.changed(num_inference_steps=4, guidance_interval=(0.0, 1.0))
    assert len(changed.plan.rows) == 4
    assert [scale == 3.0 for scale in changed.scales] == [row.sigma <= 1 for row in changed.plan.rows]
    assert changed.plan_sha256 != job.plan_sha256
    again = make_job(
        bundle,
        ["cyt_mast"],
        3,
        settings_of(num_inference_steps=4, guidance_scale=3.0, guidance_interval=(0.0, 1.0)),
    )
    assert (changed.request, changed.plan_sha256) == (again.request, again.plan_sha256)


def test_the_latents_follow_the_size_of_the_picture(tiny_bundle):
    bundle = open_bundle(str(tiny_bundle))
    job = make_job(bundle, ["cyt_mast"], 1, settings_of(width=48, height=32))
    pixels = bundle.manifest.pixels_per_latent
    assert job.latent_shape == (4, 32 // pixels, 48 // pixels)
