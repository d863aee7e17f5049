"""The reference of seed 0, which cpp_bench compares its own trajectory with."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors import safe_open

from engine.api.engine import Engine
from engine.bundle.folder import open_bundle
from tests.exporter.distilled import table_of

DESCRIBES = {"format_version", "bundle_sha256", "class", "seed", "rng", "shared_noise", "runtime", "engine_version"}
SETTINGS = {"sampler", "schedule", "num_inference_steps", "guidance_scale", "backend", "precision", "batch_size"}


def read(path):
    with safe_open(path, "numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118 - no mapping


def test_it_is_what_the_engine_makes(in_process, stochastic, tmp_path):
    tiny_bundle = stochastic / "bundle"
    out = tmp_path / "reference.safetensors"
    arguments = ["--class", "cyt_mast", "--steps", 3, "--guidance-scale", 1.5, "--out", out]
    done = in_process("engine", "reference", tiny_bundle, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(out)
    tensors, metadata = read(out)
    bundle = open_bundle(str(tiny_bundle))
    settings = {"class": "cyt_mast", "sampler": "dpmpp_2m", "num_inference_steps": "3", "guidance_scale": "1.5"}
    assert metadata.items() >= {**settings, "seed": "0", "precision": "f32", "bundle_sha256": bundle.sha256}.items()
    assert metadata.keys() == DESCRIBES | SETTINGS | {"plan"}
    assert tensors["noise"].shape == tensors["latents"].shape == bundle.manifest.latent_shape
    assert 0.8 < tensors["noise"].std() < 1.2
    assert tensors["decoder_noise"].shape == (11, 16, 16)
    assert 0.9 < tensors["decoder_noise"].std() < 1.1
    engine = Engine.open(str(tiny_bundle), precision="f32")
    (batch,) = engine.generate("cyt_mast", n=1, seed=0, num_inference_steps=3, guidance_scale=1.5, batch_size=1)
    assert (tensors["image"] == batch.images[0]).all()
    done = in_process("engine", "reference", tiny_bundle, *arguments, "--batch-size", 2)
    assert done.returncode == 0, done.stderr
    in_a_batch, metadata = read(out)
    assert metadata["batch_size"] == "2"
    difference = np.linalg.norm(in_a_batch["latents"] - tensors["latents"])
    assert difference < 1e-3 * np.linalg.norm(tensors["latents"])
    for name in ("noise", "decoder_noise"):
        assert (in_a_batch[name] == tensors[name]).all()


def test_by_default_every_class_has_one_in_the_cache(in_process, tiny_bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    done = in_process("engine", "reference", tiny_bundle, "--steps", 1)
    assert done.returncode == 0, done.stderr
    sha256 = open_bundle(str(tiny_bundle)).sha256
    names = [f"{sha256[:16]}-{name}-openvino-karras-1-2.safetensors" for name in ("cyt_mast", "cyt_nep_mast")]
    assert done.stdout.splitlines() == [str(tmp_path / "cytosynth/references" / name) for name in names]
    assert sorted(path.name for path in (tmp_path / "cytosynth/references").iterdir()) == names


def test_a_preset_brings_its_table(in_process, bundle_copy, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = bundle_copy / "manifest.json"
    manifest = json.loads(path.read_text())
    table = table_of(tmp_path / "table.json", open_bundle(str(bundle_copy)).manifest, guidance_scale=1.5)
    rows = json.loads(table.read_text())["rows"]
    changing = [{**row, "guidance_scale": 1.0 + i} for i, row in enumerate(rows)]
    plain = {name: value for name, value in manifest["defaults"].items() if name != "batch_size"}
    manifest["presets"] = {"turbo": {"table": rows}, "changing": {"table": changing}, "plain": plain}
    path.write_text(json.dumps(manifest))
    words = ("engine", "reference", bundle_copy, "--class", "cyt_mast", "--preset")
    done = in_process(*words, "turbo")
    assert done.returncode == 0, done.stderr
    sha256 = open_bundle(str(bundle_copy)).sha256
    name = f"{sha256[:16]}-cyt_mast-openvino-preset-turbo.safetensors"
    assert done.stdout.strip() == str(tmp_path / "cytosynth/references" / name)
    _, metadata = read(tmp_path / "cytosynth/references" / name)
    settings = {"preset": "turbo", "sampler": "learned", "num_inference_steps": "3", "guidance_scale": "1.5"}
    assert metadata.items() >= settings.items()
    assert [row["sigma"] for row in json.loads(metadata["plan"])["rows"]] == [row["sigma"] for row in rows]
    for wrong, found in (
        (["plain"], "no learned table"),
        (["changing"], "changes between rows"),
        (["turbo", "--steps", 2], "--steps, too"),
    ):
        done = in_process(*words, *wrong)
        assert done.returncode == 2
        assert found in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--backend", "onnxruntime"], ["--backend", "openvino, tensorrt"]),
        (["--backend", "tensorrt"], ["The backend tensorrt", "pip install"]),
        (["--class", "cyt_mist"], ["The class cyt_mist"]),
        (["--steps", "0"], ["--steps"]),
        (["--preset", "turbo"], ["--preset", "one of none, the presets of the bundle"]),
        (["--sampler", "euler_a"], ["--sampler", "adds noise"]),
        (["--sampler", "ddim_cfgpp"], ["--sampler", "changes the guidance scale"]),
        (["--out", "reference.safetensors"], ["--out", "2 classes"]),
        (["--class", "cyt_mast", "--out", "absent/x.safetensors"], ["absent", "create the folder"]),
    ],
)
def test_a_wrong_request_exits_2(in_process, tiny_bundle, arguments, words):
    done = in_process("engine", "reference", tiny_bundle, *arguments)
    assert done.returncode == 2, done.stderr
    assert all(word in done.stderr for word in words)
    assert not done.stdout
