"""The pipeline of a class: noise by class and seed, the decoder's own batch size, problems that show when it opens."""

from __future__ import annotations

import json
import shutil
from itertools import combinations

import numpy as np
import pytest

from engine.backends.onnxruntime import ORTBackend
from engine.backends.openvino import OpenVINOBackend
from engine.bundle.folder import open_bundle
from engine.bundle.job import make_job
from engine.bundle.settings import settings_of
from engine.errors import CytosynthError, RequestError
from engine.pipeline import encoder
from engine.pipeline.pipeline import Pipeline, check_opening, decoder_noise_of, noise_of
from engine.sampling.hires import enlarged_latents, enlarged_pictures

SEEDS = [3, 4, 5]


@pytest.fixture
def bundle(stochastic):
    return open_bundle(str(stochastic / "bundle"))


def job_of(bundle, **options):
    settings = {"batch_size": 3, "backend": "openvino", "precision": "f32", "num_inference_steps": 2, **options}
    return make_job(bundle, ["all"], 3, settings_of(**settings))


def decoder_noise(job, class_name="cyt_mast", seeds=SEEDS):
    return decoder_noise_of(job, class_name, seeds)["noise"]


@pytest.mark.parametrize("rng", ["numpy", "nv"])
def test_a_decoders_noise_depends_on_class_and_seed_alone(rng, bundle):
    wanted = decoder_noise(job_of(bundle, rng=rng))
    assert wanted.shape == (3, 11, 16, 16)
    assert wanted.dtype == np.float32
    for options in ({"sampler": "euler_a"}, {"num_inference_steps": 7}, {"batch_size": 1}, {"guidance_scale": 1.0}):
        np.testing.assert_array_equal(decoder_noise(job_of(bundle, rng=rng, **options)), wanted)
    np.testing.assert_array_equal(decoder_noise(job_of(bundle, rng=rng), seeds=[5])[0], wanted[2])
    wide = decoder_noise(job_of(bundle, rng=rng, width=64))
    assert wide.shape == (3, 11, 16, 32)


def test_classes_have_noise_of_their_own_unless_it_is_shared(bundle):
    """By class name, for the sampler and for the decoder. CUDA's noise knows no classes."""
    for options, shared in (({}, False), ({"shared_noise": True}, True), ({"rng": "nv"}, True)):
        job = job_of(bundle, **options)
        assert job.request.shared_noise is shared
        names = ("cyt_mast", "cyt_nep_mast")
        for one, two in (
            [noise_of(job, name)(SEEDS).draw() for name in names],
            [decoder_noise(job, name) for name in names],
        ):
            assert np.array_equal(one, two) is shared
            if not shared:
                assert abs(np.corrcoef(one.ravel(), two.ravel())[0, 1]) < 0.15


def test_a_batch_is_decoded_in_parts_and_each_picture_with_its_own_noise(bundle, monkeypatch):
    latents = np.random.default_rng(0).standard_normal((3, 4, 8, 8)).astype(np.float32)
    job, found = job_of(bundle), {}
    for size in (3, 2, 1):
        monkeypatch.setattr(encoder, "DECODE_PIXELS", size * 32 * 32)
        with Pipeline(job, "cyt_mast", OpenVINOBackend(precision="f32", threads=1)) as pipeline:
            found[size], finite = pipeline.decode(latents, SEEDS)
            swapped, _ = pipeline.decode(latents[::-1], SEEDS[::-1])
            other, _ = pipeline.decode(latents, [SEEDS[0], 99, SEEDS[2]])
        assert finite.all()
        assert np.abs(swapped[::-1].astype(int) - found[size]).max() <= 1
        changed = np.abs(other.astype(int) - found[size]).mean((1, 2, 3))
        assert changed[1] > 1 > max(changed[0], changed[2])
    for one, two in combinations(found.values(), 2):
        assert np.abs(one.astype(int) - two).max() <= 1


def test_a_bundle_without_noise_has_a_decoder_with_one_input(tiny_bundle):
    job = job_of(open_bundle(str(tiny_bundle)))
    assert decoder_noise_of(job, "cyt_mast", SEEDS) == {}


def test_a_manifest_that_does_not_fit_the_graph_is_an_error(stochastic, tmp_path):
    folder = shutil.copytree(stochastic / "bundle", tmp_path / "bundle")
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["decoder_noise"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CytosynthError, match="latents float32, noise float32"):
        Pipeline(job_of(open_bundle(str(folder))), "cyt_mast", OpenVINOBackend(precision="f32"))


def test_a_batch_that_the_decoder_does_not_divide_loses_and_changes_nothing(tiny_bundle, monkeypatch):
    job = make_job(open_bundle(str(tiny_bundle)), ["cyt_mast"], 3, settings_of(batch_size=3, num_inference_steps=1))
    with Pipeline(job, "cyt_mast", ORTBackend()) as pipeline:
        latents = pipeline.generate_latents([1, 2, 3])
        wanted, _ = pipeline.decode(latents, [1, 2, 3])
    monkeypatch.setattr(encoder, "DECODE_PIXELS", 2 * 32 * 32)
    with Pipeline(job, "cyt_mast", ORTBackend()) as pipeline:
        found, finite = pipeline.decode(latents, [1, 2, 3])
    assert finite.tolist() == [True] * 3
    assert np.abs(found.astype(int) - wanted).max() <= 1


def test_embeddings_that_cannot_be_read_are_found_before_a_model_opens(bundle_copy):
    job = make_job(open_bundle(str(bundle_copy)), ["all"], 1, settings_of())
    check_opening(job, ORTBackend())
    (bundle_copy / "context.cyt_nep_mast.safetensors").write_bytes(b"garbage")
    with pytest.raises(RequestError, match=r"context\.cyt_nep_mast"):
        check_opening(job, ORTBackend())


@pytest.mark.parametrize("upscaler", ["lanczos", "latent"])
def test_a_hires_fix_starts_from_the_enlarged_first_pass(upscaler, tiny_bundle):
    bundle, backend = open_bundle(str(tiny_bundle)), OpenVINOBackend(precision="f32")
    options = {"batch_size": 1, "num_inference_steps": 2}
    hires = {"hires_scale": 2.0, "hires_upscaler": upscaler, "hires_steps": 1}

    def job(**more):
        return make_job(bundle, ["cyt_mast"], 1, settings_of(**options, **more))

    with Pipeline(job(), "cyt_mast", backend) as pipeline:
        first = pipeline.generate_latents([3])
        images, _ = pipeline.decode(first, [3])
    untouched = job(**hires, hires_strength=0.0)
    if upscaler == "latent":
        wanted = enlarged_latents(first, (16, 16), upscaler)
    else:
        opened = encoder.Encoder(untouched.second_pass, backend)
        wanted = opened.run(enlarged_pictures(images, (64, 64), upscaler))
        opened.close()
    with Pipeline(untouched, "cyt_mast", backend) as pipeline:
        np.testing.assert_allclose(pipeline.generate_latents([3]), wanted, atol=1e-5)
    with Pipeline(job(**hires, hires_strength=0.6), "cyt_mast", backend) as pipeline:
        drawn = pipeline.generate_latents([3])
        assert pipeline.decode(drawn, [3])[0].shape == (1, 64, 64, 3)
    assert np.abs(drawn - wanted).mean() > 0.05
