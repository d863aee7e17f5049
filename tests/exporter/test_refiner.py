"""A refiner from its file to the decoder graph: the trainer's equations, a second input, noise that is fed by name."""

from __future__ import annotations

import json
import shutil

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from engine.bundle.folder import open_bundle
from engine.errors import RequestError
from exporter.load import load_merged
from exporter.refiner import REFINER_FILE, read_refiner
from tests.stochastic import GRID, random_refiner
from tests.trainer.base.test_refiner import damages, inputs
from trainer.base.base import open_base
from trainer.base.refiner import write_refiner

SETTINGS = [{}, {"context_width": 0}, {"factor": 8}, {"factor": 2, "convolutions": 2}, {"jpeg": GRID}]


@pytest.mark.parametrize("settings", [*SETTINGS, {"noise_planes": 1, "context_width": 0}])
def test_it_computes_what_the_trainers_computes(settings, tmp_path):
    wanted = random_refiner(**settings)
    write_refiner(wanted, tmp_path / REFINER_FILE)
    found = read_refiner(tmp_path / REFINER_FILE)
    assert (found.sizes.planes, 2 * found.sizes.noise_scale) == (wanted.settings.planes, wanted.settings.factor)
    values = inputs(wanted.settings)
    drawn = wanted(*values) if wanted.jpeg is None else wanted.jpeg(wanted(*values))
    torch.testing.assert_close(found(*values), drawn, rtol=1e-5, atol=1e-5)
    # In float16 the picture itself keeps its precision.
    assert (found.half()(*values) - drawn).abs().quantile(0.95) < 0.02


EXPORTERS_WORDS = {
    "Missing key": "convs.1.bias is missing",
    "Unexpected key": "no such tensor",
    "size mismatch": r"strengths.0 \(1, 3, 1, 1\)",
    "noise_planes 3": "3 noise planes",
    "unexpected keyword": None,
}
"""Where this reader says it in other words than the trainer's. A further setting is none of its business."""


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / REFINER_FILE
    write_refiner(random_refiner(), path)
    for damage in damages(path):
        word = EXPORTERS_WORDS.get(damage, damage)
        if word is not None:
            with pytest.raises(RequestError, match=word):
                read_refiner(path)


def test_a_wrong_refiner_exits_2_and_leaves_no_bundle(in_process, whole_path, tmp_path):
    merged = shutil.copytree(whole_path / "merged/cyt_mast", tmp_path / "merged")
    write_refiner(random_refiner(factor=8), merged / REFINER_FILE)
    for word in ("the refiner's factor", "unreadable"):
        done = in_process("exporter", "onnx", merged, "--out", tmp_path / "bundle")
        assert done.returncode == 2, done.stderr
        assert word in done.stderr
        assert not (tmp_path / "bundle").exists()
        (merged / REFINER_FILE).write_bytes(b"damaged")


def test_the_graph_takes_noise_of_any_batch_and_size(stochastic):
    onnx.checker.check_model(stochastic / "bundle/vae_decoder.onnx", full_check=True)
    session = onnxruntime.InferenceSession(stochastic / "bundle/vae_decoder.onnx", providers=["CPUExecutionProvider"])
    assert [(value.name, value.type) for value in session.get_inputs()] == [
        ("latents", "tensor(float)"),
        ("noise", "tensor(float)"),
    ]
    rng, base = np.random.default_rng(0), open_base(stochastic / "base")
    for rows, h, w in ((1, 8, 8), (3, 4, 6)):
        latents, noise = (
            rng.standard_normal((rows, *shape)).astype(np.float32)
            for shape in ((4, h, w), (base.refiner.settings.planes, 2 * h, 2 * w))
        )
        images, finite = session.run(["images", "finite"], {"latents": latents, "noise": noise})
        with torch.no_grad():
            z = torch.from_numpy(latents)
            plain = base.vae.decode(z / base.vae.config.scaling_factor).sample
            drawn = base.refiner.jpeg(base.refiner(plain, z, torch.from_numpy(noise)))
        wanted = (255 * ((drawn + 1) / 2).clamp(0, 1)).byte().permute(0, 2, 3, 1).numpy()
        assert images.shape == (rows, 4 * h, 4 * w, 3)
        assert finite.all()
        difference = np.abs(images.astype(int) - wanted)
        assert np.quantile(difference, 0.99) <= 2
        assert difference.mean() < 0.5
        assert difference.max() <= 8, "single coefficients lie between two steps"
        without = (255 * ((plain + 1) / 2).clamp(0, 1)).byte().permute(0, 2, 3, 1).numpy()
        assert np.abs(images.astype(int) - without).mean() > 2, "the grain is visible"


@pytest.mark.slow
def test_the_exporter_writes_this_decoder_and_no_class_of_another_refiner(in_process, stochastic, whole_path, tmp_path):
    merged, bundle = stochastic / "merged/cyt_mast", tmp_path / "bundle"
    done = in_process("exporter", "onnx", merged, "--out", bundle)
    assert done.returncode == 0, done.stderr
    found, wanted = (json.loads((folder / "manifest.json").read_text()) for folder in (bundle, stochastic / "bundle"))
    for field in ("format_version", "decoder_noise", "base_sha256"):
        assert found[field] == wanted[field]
    assert found["files"]["vae_decoder.onnx"] == wanted["files"]["vae_decoder.onnx"]
    assert open_bundle(str(bundle)).manifest.decoder_inputs(2, (4, 8, 8))["noise"] == (2, 11, 16, 16)
    assert load_merged(merged).base_sha256() != load_merged(whole_path / "merged/cyt_mast").base_sha256()
    done = in_process("exporter", "onnx", whole_path / "merged/cyt_nep_mast", "--out", bundle)
    assert done.returncode == 2
    assert "export classes of another base into another bundle" in done.stderr
