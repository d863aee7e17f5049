"""The base that ships, against the graphs of the embedded bundle that hold its weights."""

from __future__ import annotations

import shutil

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.numpy import load_file

from engine.bundle.folder import open_bundle
from engine.errors import RequestError
from trainer.base import shipped
from trainer.base.base import Base, encode_prompts, open_base


@pytest.fixture(scope="module")
def cells():
    return open_base("cells")


@pytest.fixture(scope="module")
def bundle():
    return open_bundle("cells")


def run(path, **inputs):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


def test_its_prompts_are_those_of_the_bundle(cells, bundle):
    entry = bundle.manifest.classes["neutrophil"]
    known = load_file(bundle.path(entry.context))
    with torch.no_grad():
        found = encode_prompts(cells, [entry.prompt, ""]).numpy()
    np.testing.assert_allclose(found, np.concatenate([known["cond"], known["uncond"]]).reshape(found.shape), atol=2e-3)


def test_its_unet_is_that_of_a_class_without_a_hypernetwork(cells, bundle):
    manifest = bundle.manifest
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(1, *manifest.latent_shape, generator=generator)
    with torch.no_grad():
        context = encode_prompts(cells, ["monocyte"])
        expected = cells.unet(latents, torch.tensor([500.0]), context).sample.numpy()
    angles = 500.0 * np.array(manifest.frequencies)
    features = np.concatenate([np.cos(angles), np.sin(angles)])[None].astype(np.float32)
    inputs = {"latents": latents.numpy(), "time_features": features, "encoder_hidden_states": context.numpy()}
    found = run(bundle.path(manifest.classes["monocyte"].unet), **inputs)
    assert np.sqrt(((found - expected) ** 2).mean()) < 0.01 * np.sqrt((expected**2).mean())


def test_its_encoder_and_decoder_belong_together(cells):
    rows, columns = np.mgrid[:128, :128] - 63.5
    inside = np.hypot(rows, columns) < 30
    picture = torch.from_numpy(np.where(inside[None], [[[0.1]], [[-0.4]], [[0.3]]], 0.75)).float()[None]
    with torch.no_grad():
        again = cells.vae.decode(cells.vae.encode(picture).latent_dist.mean).sample
    assert float(((again - picture) ** 2).mean()) < 0.02


def test_its_card_states_licence_framing_and_guidance(cells):
    card = cells.card
    assert (card.licence, card.crop, card.guidance_scale, card.guidance_interval) == ("CC BY 4.0", 0.7, 2.0, (2.0, 6.0))
    assert "Acevedo" in card.attribution
    assert "neutrophil" in card.prompts


def test_its_record_says_how_it_was_trained():
    record = shipped.record_of_shipped("cells")
    assert record["start"]["pictures"]["neutrophil"] == 500
    assert "by_texture" in record["encoder"]


def test_a_changed_or_missing_file_is_refused(monkeypatch, tmp_path, bundle):
    copied = shutil.copytree(bundle.folder, tmp_path / "cells")
    monkeypatch.setattr(shipped, "BUNDLES", tmp_path)
    with (copied / "unet.bin").open("r+b") as file:
        file.write(b"changed")
    with pytest.raises(RequestError, match=r"unet\.bin"):
        shipped.open_shipped("cells", Base.new)
    (copied / "unet.bin").unlink()
    with pytest.raises(RequestError, match="no such file"):
        shipped.open_shipped("cells", Base.new)
