"""The signal leak, from the pictures on which it is measured to the pictures whose sampling starts at it."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from safetensors.numpy import load_file, save_file
from scipy.fft import idctn

from engine.bundle.folder import open_bundle
from engine.files import sha256_of
from engine.sampling.noise import NoiseSource
from engine.sampling.samplers import plan_steps
from engine.sampling.signal_leak import read_signal_leak
from exporter.onnx_bundle import write_bundle

CLASS = "cyt_mast"


def merge(run, whole_path, out, *words):
    hypernetwork = whole_path / f"hypernetworks/{CLASS}.safetensors"
    return run("trainer", "merge", hypernetwork, "--base", whole_path / "base", "--out", out, *words)


@pytest.fixture(scope="module")
def exported(in_process, shared_exports, whole_path, tiny_bundle, tmp_path_factory):
    """The tiny bundle with its first class exported again with a signal leak. Tests must not change it."""
    folder = tmp_path_factory.mktemp("leak")
    bundle = shutil.copytree(tiny_bundle, folder / "bundle")
    done = merge(in_process, whole_path, folder / "merged", "--signal-leak", whole_path / "prepared" / CLASS)
    assert done.returncode == 0, done.stderr
    write_bundle([folder / "merged"], bundle)
    return bundle


@pytest.fixture
def leaking(exported, tmp_path):
    """A copy of the bundle that a test may damage."""
    return shutil.copytree(exported, tmp_path / "leaking")


def leak_of(bundle):
    return load_file(bundle / f"signal_leak.{CLASS}.safetensors")


def test_the_leak_is_the_mean_and_the_main_directions_of_the_latents(leaking, whole_path):
    vae = AutoencoderKL.from_pretrained(whole_path / "base/vae", local_files_only=True)
    pictures = [np.asarray(Image.open(path)) for path in sorted((whole_path / "prepared" / CLASS).glob("*.png"))]
    stacked = np.stack(pictures)
    turned = np.concatenate([np.rot90(side, k, (1, 2)) for side in (stacked, stacked[:, :, ::-1]) for k in range(4)])
    x = torch.from_numpy(turned.copy()).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        latents = (vae.encode(x).latent_dist.mean * vae.config.scaling_factor).numpy()
    found = leak_of(leaking)
    assert_allclose(found["mean"], latents.mean(0), atol=3e-3)
    leak = read_signal_leak(leaking / f"signal_leak.{CLASS}.safetensors", latents.shape[1:])
    flat = leak.directions.reshape(len(leak.variances), -1)
    assert_allclose(flat @ flat.T, np.eye(len(flat)), atol=3e-3)
    along = (latents - latents.mean(0)).reshape(len(latents), -1) @ flat.T
    assert_allclose(along.var(0), leak.variances, rtol=0.02, atol=2e-3)
    assert (np.diff(leak.variances) <= 0).all()


def test_the_first_latents_have_the_mean_and_the_variances_that_the_class_has_under_noise(leaking):
    bundle = open_bundle(str(leaking))
    shape = bundle.manifest.latent_shape
    leak, plan = (
        read_signal_leak(leaking / f"signal_leak.{CLASS}.safetensors", shape),
        plan_steps(bundle.manifest.noise, sampler="dpmpp_2m", schedule="karras", num_inference_steps=5),
    )
    noise = NoiseSource(range(4000), shape).draw()
    first = leak.into(noise, plan).astype(np.float64) * plan.initial_scale
    sigma = plan.rows[0].sigma
    tensors = leak_of(leaking)
    low = tensors["directions"].shape[-1]
    padded = np.zeros((len(tensors["variances"]), *shape))
    padded[..., :low, :low] = tensors["directions"]
    directions = idctn(padded, axes=(2, 3), norm="ortho").reshape(len(padded), -1)
    centred = (first - tensors["mean"]).reshape(len(first), -1)
    assert abs(centred.mean(0)).max() < 5 * sigma / np.sqrt(len(first))
    assert_allclose((centred @ directions.T).var(0), tensors["variances"] + sigma**2, rtol=0.12)
    rest = centred - (centred @ directions.T) @ directions
    plain = (noise * plan.initial_scale).reshape(len(first), -1)
    assert_allclose(rest, plain - (plain @ directions.T) @ directions, atol=0.3)


def generate(run, bundle, out, *words):
    done = run("engine", "generate", "--bundle", bundle, "--class", CLASS, "--n", 2, "--out", out, *words)
    return done, [np.asarray(Image.open(path)) for path in sorted((out / CLASS).glob("*.png"))]


@pytest.mark.slow
def test_sampling_starts_at_the_leak_with_every_noise_but_only_at_the_trained_size(
    in_process, leaking, tiny_bundle, tmp_path
):
    for name, words, changed in (
        ("numpy", [], True),
        ("nv", ["--rng", "nv"], True),
        ("larger", ["--width", 64, "--height", 64], False),
    ):
        (with_it, ours), (without, theirs) = (
            generate(in_process, bundle, tmp_path / f"{name}-{bundle.name}", *words)
            for bundle in (leaking, tiny_bundle)
        )
        assert with_it.returncode == without.returncode == 0, with_it.stderr + without.stderr
        assert len(ours) == 2
        assert any((one != other).any() for one, other in zip(ours, theirs, strict=True)) is changed
    _, again = generate(in_process, leaking, tmp_path / "again", "--batch-size", 1)
    _, first = generate(in_process, leaking, tmp_path / "first")
    assert_array_equal(again, first)


@pytest.mark.parametrize("damage", ["shape", "type", "value", "missing"])
def test_a_damaged_leak_is_refused(in_process, leaking, tmp_path, damage):
    path = leaking / f"signal_leak.{CLASS}.safetensors"
    tensors = load_file(path)
    if damage == "shape":
        tensors["directions"] = tensors["directions"][:, :1]
    elif damage == "type":
        tensors["mean"] = tensors["mean"].astype(np.float32)
    elif damage == "value":
        tensors["variances"][0] = np.nan
    else:
        del tensors["variances"]
    save_file({name: np.ascontiguousarray(values) for name, values in tensors.items()}, path)
    refused, _ = generate(in_process, leaking, tmp_path / "out")
    assert refused.returncode == 2
    assert "SHA-256" in refused.stderr or "bytes" in refused.stderr
    manifest = json.loads((leaking / "manifest.json").read_text())
    manifest["files"][path.name] = {"sha256": sha256_of(path), "bytes": path.stat().st_size}
    (leaking / "manifest.json").write_text(json.dumps(manifest))
    refused, _ = generate(in_process, leaking, tmp_path / "out")
    assert refused.returncode == 2, refused.stdout
    assert "signal leak" in refused.stderr
    assert not (tmp_path / "out").exists()


def test_a_class_that_is_exported_without_the_leak_loses_it(in_process, whole_path, leaking, tiny_bundle):
    assert in_process("engine", "verify", leaking).returncode == 0
    done = in_process("exporter", "onnx", whole_path / "merged" / CLASS, "--out", leaking)
    assert done.returncode == 0, done.stderr
    assert {path.name: path.read_bytes() for path in leaking.iterdir()} == {
        path.name: path.read_bytes() for path in tiny_bundle.iterdir()
    }


def test_wrong_pictures_are_refused_before_anything_is_written(in_process, whole_path, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    for number in range(3):
        Image.new("RGB", (16, 16)).save(small / f"{number}.png")
    for folder in (whole_path / "prepared", small, tmp_path / "none"):
        done = merge(in_process, whole_path, tmp_path / "merged", "--signal-leak", folder)
        assert done.returncode == 2, done.stdout
        assert str(folder) in done.stderr
    assert not (tmp_path / "merged").exists()
