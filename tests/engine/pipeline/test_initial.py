"""Pictures that start from pictures: against diffusers with the same weights, noise and latents, and as whole runs."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline
from PIL import Image

from engine import Engine
from engine.backends.openvino import OpenVINOBackend
from engine.bundle.folder import open_bundle
from engine.bundle.job import make_job
from engine.bundle.settings import settings_of
from engine.errors import RequestError
from engine.pipeline.pipeline import Pipeline, noise_of
from exporter.parity import LIMITS, relative_l2
from tests.engine.folders import pictures

STEPS = 10
SEEDS = [7, 8]
DIFFUSERS = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(scope="module")
def initial(whole_path, tmp_path_factory):
    """Three initial pictures of 32 x 32 pixels, and a mask of whole latents."""
    folder = tmp_path_factory.mktemp("initial")
    sources = sorted((whole_path / "prepared/cyt_mast").glob("*.png"))[:3]
    for place, path in enumerate(sources):
        with Image.open(path) as picture:
            (folder / "in").mkdir(exist_ok=True)
            picture.convert("RGB").save(folder / f"in/{place}.png")
    mask = np.zeros((32, 32), np.uint8)
    mask[8:24, 12:28] = 255
    Image.fromarray(mask).save(folder / "mask.png")
    return folder


def draw(whole_path, initial, **options):
    """The engine's latents, the noise and the initial latents of two pictures."""
    bundle = open_bundle(str(whole_path / "bundle"))
    settings = settings_of(
        seed=SEEDS[0],
        batch_size=2,
        backend="openvino",
        precision="f32",
        sampler="euler",
        schedule="normal",
        num_inference_steps=STEPS,
        init=initial / "in",
        **options,
    )
    job = make_job(bundle, ["cyt_mast"], 2, settings)
    with Pipeline(job, "cyt_mast", OpenVINOBackend(precision="f32")) as pipeline:
        latents = pipeline.generate_latents(SEEDS)
        start = pipeline._beginning.start(SEEDS)
    return latents, noise_of(job, "cyt_mast")(SEEDS).draw(), start.latents


def peer(kind, whole_path, noise, monkeypatch):
    """A pipeline of diffusers on the merged folder, which draws our noise."""
    pipeline = kind.from_pretrained(whole_path / "merged/cyt_mast", local_files_only=True, dtype=torch.float32)
    # The pipelines of pictures insist on feature extractors and safety checkers only if these are there.
    pipeline.scheduler = EulerDiscreteScheduler.from_config(
        pipeline.scheduler.config, timestep_spacing="linspace", steps_offset=0, use_karras_sigmas=False
    )
    module = __import__(kind.__module__, fromlist=["randn_tensor"])
    monkeypatch.setattr(module, "randn_tensor", lambda *_, **__: torch.from_numpy(noise))
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@DIFFUSERS
@pytest.mark.parametrize(("strength", "theirs"), [(0.3, 0.4), (0.5, 0.6), (0.9, 1.0)])
def test_a_varied_picture_equals_that_of_diffusers(strength, theirs, whole_path, initial, monkeypatch):
    """One step more than diffusers' int(strength * S), as in AUTOMATIC1111's WebUI."""
    found, noise, z = draw(whole_path, initial, strength=strength, guidance_scale=2.0)
    pipeline = peer(StableDiffusionImg2ImgPipeline, whole_path, noise, monkeypatch)
    wanted = pipeline(
        prompt=["cyt_mast"] * 2,
        image=torch.from_numpy(z),
        strength=theirs,
        num_inference_steps=STEPS,
        guidance_scale=2.0,
        output_type="latent",
    ).images
    assert relative_l2(found, wanted.numpy()) < LIMITS["trajectory_relative_l2"]


@DIFFUSERS
def test_a_repainted_picture_equals_that_of_diffusers(whole_path, initial, monkeypatch):
    found, noise, z = draw(whole_path, initial, strength=0.5, guidance_scale=2.0, mask=initial / "mask.png")
    pipeline = peer(StableDiffusionInpaintPipeline, whole_path, noise, monkeypatch)
    with Image.open(initial / "mask.png") as mask:
        wanted = pipeline(
            prompt=["cyt_mast"] * 2,
            image=torch.from_numpy(z),
            mask_image=mask,
            strength=0.6,
            height=32,
            width=32,
            num_inference_steps=STEPS,
            guidance_scale=2.0,
            output_type="latent",
            masked_image_latents=torch.from_numpy(z),
        ).images
    assert relative_l2(found, wanted.numpy()) < LIMITS["trajectory_relative_l2"]
    kept = np.ones((8, 8), bool)
    kept[2:6, 3:7] = False
    np.testing.assert_allclose(found[..., kept], z[..., kept], atol=1e-6)


def run(in_process, tiny_bundle, initial, out, *options, n=5):
    arguments = ["--bundle", tiny_bundle, "--class", "cyt_mast", "--n", n, "--steps", 4, "--init", initial / "in"]
    done = in_process("engine", "generate", *arguments, "--out", out, "--precision", "f32", *options)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in (out / "metadata.jsonl").read_text().splitlines()]


def test_each_picture_names_its_initial_picture(in_process, tiny_bundle, initial, tmp_path):
    rows = run(in_process, tiny_bundle, initial, tmp_path / "out", "--seed", 3)
    assert [row["initial_picture"] for row in rows] == ["0.png", "1.png", "2.png", "0.png", "1.png"]
    assert {row["derived"] for row in rows} == {True}
    assert {row["digital_source_type"] for row in rows} == {"compositeWithTrainedAlgorithmicMedia"}
    assert {row["strength"] for row in rows} == {0.5}
    assert rows[0]["start_sigma"] > 0
    assert len(set(pictures(tmp_path / "out").values())) == 5


def test_pieces_and_resumed_runs_have_the_bytes_of_a_whole_run(in_process, tiny_bundle, initial, tmp_path):
    whole = tmp_path / "whole"
    run(in_process, tiny_bundle, initial, whole, "--batch-size", 2)
    for number in (1, 2):
        arguments = ["--bundle", tiny_bundle, "--class", "cyt_mast", "--n", 5, "--steps", 4, "--init", initial / "in"]
        arguments += ["--precision", "f32", "--batch-size", 2, "--shard", f"{number}/2", "--out", tmp_path / "joined"]
        assert in_process("engine", "generate", *arguments).returncode == 0
    assert in_process("engine", "merge-runs", tmp_path / "joined").returncode == 0
    assert pictures(tmp_path / "joined") == pictures(whole)
    again = in_process("engine", "generate", *arguments[:-4], "--out", whole, "--json")
    assert json.loads(again.stdout)["made"] == 0
    other = in_process("engine", "generate", *arguments[:-4], "--out", whole, "--strength", 0.7)
    assert other.returncode == 2
    assert "initial" in other.stderr


def test_outside_the_mask_the_written_picture_is_the_initial_one(in_process, tiny_bundle, initial, tmp_path):
    rows = run(in_process, tiny_bundle, initial, tmp_path / "out", "--mask", initial / "mask.png", "--strength", 1)
    mask = np.asarray(Image.open(initial / "mask.png"))
    for row in rows:
        drawn = np.asarray(Image.open(tmp_path / "out" / row["file_name"]))
        source = np.asarray(Image.open(initial / "in" / row["initial_picture"]))
        np.testing.assert_array_equal(drawn[mask == 0], source[mask == 0])
        assert (drawn[mask > 0] != source[mask > 0]).mean() > 0.3
        assert row["mask"] == "mask.png"
        assert row["masked_content"] == "original"


def test_the_content_below_the_mask_changes_the_picture(tiny_bundle, initial):
    engine = Engine.open(str(tiny_bundle), precision="f32")
    options = {"num_inference_steps": 2, "init": initial / "in", "mask": initial / "mask.png", "batch_size": 1}
    found = {
        content: next(engine.generate("cyt_mast", 1, masked_content=content, strength=0.9, **options)).images.tobytes()
        for content in ("original", "fill", "noise", "nothing")
    }
    assert len(set(found.values())) == 4


def test_strength_zero_returns_the_initial_pictures(tiny_bundle, initial):
    engine = Engine.open(str(tiny_bundle), precision="f32")
    [batch] = engine.generate("cyt_mast", 3, init=initial / "in", strength=0.0)
    for place, image in enumerate(batch.images):
        np.testing.assert_array_equal(image, np.asarray(Image.open(initial / f"in/{place}.png")))


def test_a_grown_picture_has_the_new_size(tiny_bundle, initial):
    engine = Engine.open(str(tiny_bundle), precision="f32")
    options = {"num_inference_steps": 1, "init": initial / "in", "expand": (16, 0, 0, 16), "mask_blur": 1.0}
    options["batch_size"] = 1
    [batch] = engine.generate("cyt_mast", 1, **options)
    assert batch.images.shape == (1, 48, 48, 3)
    source = np.asarray(Image.open(initial / "in/0.png"))
    np.testing.assert_array_equal(batch.images[0, :30, 18:], source[:30, 2:])
    with pytest.raises(RequestError, match="a multiple of"):
        next(engine.generate("cyt_mast", 1, init=initial / "in", expand=(3, 0, 0, 0)))


def test_pictures_of_different_sizes_do_not_fit_one_array(tiny_bundle, initial, tmp_path):
    for side in (40, 44):
        Image.new("RGB", (side, side), "pink").save(tmp_path / f"{side}.png")
    Image.new("L", (40, 40), 255).save(tmp_path / "40-mask.png")
    folder, masks = tmp_path / "in", tmp_path / "masks"
    folder.mkdir()
    masks.mkdir()
    for side in (40, 44):
        (tmp_path / f"{side}.png").rename(folder / f"{side}.png")
        Image.new("L", (side, side), 255).save(masks / f"{side}.png")
    engine = Engine.open(str(tiny_bundle), precision="f32")
    with pytest.raises(RequestError, match="one size"):
        list(engine.generate("cyt_mast", 2, init=folder, mask=masks, inpaint_area="masked", num_inference_steps=1))
