"""A small decoder is trained for two tiny classes, of which one has photographs."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.trainer.distillation.conftest import CLASSES
from trainer.adapters.merged import open_merged
from trainer.base.small_decoder import read_small_decoder
from trainer.distillation.settings import ShrinkSettings
from trainer.distillation.shrink import ShrinkRequest
from trainer.distillation.shrink import shrink as train
from trainer.pictures.dataset import read_set, to_model_range
from trainer.pretraining.likeness import compare
from trainer.pretraining.perceptual import open_perceptual_distance
from trainer.tables.settings import TeacherSettings
from trainer.tables.subjects import open_subjects
from trainer.training.devices import Compute
from trainer.training.outputs import Outputs

TEACHER = TeacherSettings(teacher_steps=2, guidance_scale=1.0)
SETTINGS = ShrinkSettings(steps=24, batch_size=2, learning_rate=5e-3, width=8, pictures=9)
QUICK = ("--teacher-steps", 2, "--guidance-scale", 1, "--steps", 24, "--batch-size", 2, "--learning-rate", 5e-3)
QUICK += ("--width", 8, "--pictures", 9)


@pytest.fixture
def merged(whole_path):
    return [whole_path / "merged" / name for name in CLASSES]


@pytest.fixture
def shrink(in_process, tmp_path):
    """Runs `shrink` on merged folders."""
    return lambda merged, *options: in_process(
        "trainer", "shrink", *merged, "--out", tmp_path / "out", *QUICK, *options
    )


def test_a_stopped_training_continues_to_the_same_bits(shrink, merged, photographs, tmp_path):
    """The small decoder comes nearer to the VAE's with each part of the training, as far as the record says."""
    stop, names = threading.Event(), set()

    def progress(name, done, total, *values):
        names.add(name)
        if (name, done) == ("small_decoder", 2):
            stop.set()

    outputs = Outputs(tmp_path / "out", "small_decoder")
    request = ShrinkRequest(outputs, TEACHER, None, SETTINGS, Compute(), stop, progress)
    early = train(open_subjects(merged), read_set([photographs]), request)
    assert names == {"drawn pictures", "small_decoder"}
    assert early["training"]["steps_done"] == 2
    done = shrink(merged, "--photographs", photographs)
    assert done.returncode == 2
    assert "--resume" in done.stderr
    done = shrink(merged, "--photographs", photographs, "--resume", "--texture-share", 0)
    assert done.returncode == 2, "it would be another training"
    done = shrink(merged, "--photographs", photographs, "--resume")
    assert done.returncode == 0, done.stderr
    assert f"--decoder {outputs.weights}" in done.stdout
    resumed, found = load_file(outputs.weights), json.loads(outputs.record.read_text())
    done = shrink(merged, "--photographs", photographs, "--overwrite")
    assert done.returncode == 0, done.stderr
    torch.testing.assert_close(load_file(outputs.weights), resumed, rtol=0, atol=0)

    assert {way: list(classes) for way, classes in found["psnr_db"].items()} == {
        "default settings": [*CLASSES],
        "photographs": [CLASSES[0]],
    }
    for way, classes in found["psnr_db"].items():
        for name, value in classes.items():
            assert value > early["psnr_db"][way][name] + 3
            assert f"  {way}, {name}: {value:.2f}" in done.stdout
    assert found["psnr_db"]["photographs"][CLASSES[0]] == pytest.approx(
        psnr_db(merged[0], photographs, outputs), rel=1e-4
    )


def psnr_db(merged, photographs, outputs):
    """The PSNR of the file's decoder on each eighth photograph, against the VAE's decoder in float16."""
    found, wanted = pictures_of(merged, photographs, outputs)
    return (10 * torch.log10(4 / (found - wanted).pow(2).mean((1, 2, 3)))).mean().item()


def pictures_of(merged, photographs, outputs):
    """Each eighth photograph as the file's decoder and the VAE's draw it."""
    vae, decoder = open_merged(merged).base.vae, read_small_decoder(outputs.weights)
    with torch.no_grad():
        latents = vae.encode(to_model_range(read_set([photographs]).pictures[::8])).latent_dist.mean
        wanted = vae.decode(latents).sample.half().float().clamp(-1, 1)
        return decoder(latents * vae.config.scaling_factor).clamp(-1, 1), wanted


@pytest.mark.slow
def test_steps_with_texture_bring_features_and_texture_nearer(merged, photographs, tmp_path):
    found = {}
    for share in (0.0, 1.0):
        outputs = Outputs(tmp_path / str(share), "small_decoder")
        settings = replace(SETTINGS, steps=40, texture_share=share)
        request = ShrinkRequest(outputs, TEACHER, None, settings, Compute())
        train(open_subjects(merged), read_set([photographs]), request)
        pictures, distance = pictures_of(merged[0], photographs, outputs), open_perceptual_distance()
        generator = torch.Generator().manual_seed(0)
        compared = compare(distance, *pictures, paired=len(pictures[0]), generator=generator, compute=Compute())
        found[share] = compared.loss.item()
    assert found[1.0] < 0.9 * found[0.0]


@pytest.mark.slow
def test_pictures_of_few_steps_are_learnt_too(shrink, merged, distilled, tmp_path):
    done = shrink(merged, "--few-steps", distilled)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "out/small_decoder.json").read_text())["psnr_db"]
    assert found.keys() == {"default settings", "few steps"}
    for name in CLASSES:
        assert found["few steps"][name] != found["default settings"][name]


@pytest.mark.parametrize(
    ("case", "found"),
    [
        ("another VAE", f"another VAE than {CLASSES[0]} has"),
        ("another gain", f"the scaling factor 0.5, and {CLASSES[0]} has"),
        ("unknown class", "the class cell"),
    ],
)
def test_wrong_requests_are_refused(case, found, shrink, merged, photographs, tmp_path):
    other = shutil.copytree(merged[1], tmp_path / CLASSES[1])
    if case == "another VAE":
        path = other / "vae/diffusion_pytorch_model.safetensors"
        tensors = load_file(path)
        tensors["decoder.conv_out.bias"] += 1
        save_file(tensors, path)
    elif case == "another gain":
        path = other / "vae/config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "scaling_factor": 0.5}))
    else:
        (photographs / CLASSES[0]).rename(photographs / "cell")
    done = shrink([merged[0], other], "--photographs", photographs)
    assert done.returncode == 2, done.stdout
    assert found in done.stderr
    assert not (tmp_path / "out").exists()
