"""The VAE's encoder on every runtime, and batches of encoder and decoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.backends.onnxruntime import ORTBackend
from engine.backends.openvino import OpenVINOBackend
from engine.bundle.folder import open_bundle
from engine.bundle.job import make_job
from engine.bundle.settings import settings_of
from engine.pipeline import encoder as module
from engine.pipeline.encoder import Encoder, decode_batch_size, padded
from exporter.load import load_merged

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)


@pytest.mark.parametrize("backend", [lambda: OpenVINOBackend(precision="f32"), ORTBackend])
@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_latents_are_the_mean_of_the_posterior(backend, batch_size, whole_path, monkeypatch):
    """At any batch size of the encoder, which does not divide the three pictures."""
    monkeypatch.setattr(module, "DECODE_PIXELS", batch_size * 32 * 32)
    job = make_job(open_bundle(str(whole_path / "bundle")), ["cyt_mast"], 3, settings_of(batch_size=3))
    opened = Encoder(job, backend())
    found = opened.run(IMAGES)
    opened.close()
    vae = load_merged(whole_path / "merged/cyt_mast").vae
    with torch.no_grad():
        posterior = vae.encode(torch.from_numpy(IMAGES).permute(0, 3, 1, 2) / 127.5 - 1).latent_dist
    wanted = posterior.mean.numpy() * vae.config.scaling_factor
    assert found.shape == wanted.shape
    assert np.linalg.norm(found - wanted) < 0.01 * np.linalg.norm(wanted)


def test_large_pictures_are_decoded_in_smaller_batches():
    assert decode_batch_size(16, 128, 128) == 16
    assert decode_batch_size(16, 512, 512) == 2
    assert decode_batch_size(16, 2048, 2048) == 1


def test_a_short_batch_is_filled_with_its_last_entry():
    assert padded(np.array([[1], [2]]), 4).tolist() == [[1], [2], [2], [2]]
