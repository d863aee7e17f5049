"""Changed graphs, against the torch modules that they were exported from."""

from __future__ import annotations

import numpy as np
import pytest

from engine.backends.openvino import OpenVINOBackend
from engine.bundle.folder import open_bundle
from engine.errors import RequestError
from engine.sampling.schedules import time_features


@pytest.mark.parametrize("chunks", [1, 2, 3])
def test_a_unet_takes_a_context_of_more_tokens(chunks, tiny_bundle, whole_path):
    import torch
    from diffusers import UNet2DConditionModel

    bundle, rng = open_bundle(str(tiny_bundle)), np.random.default_rng(chunks)
    manifest = bundle.manifest
    tokens, width = manifest.context_shape
    inputs = {
        "latents": rng.standard_normal((4, *manifest.latent_shape), np.float32),
        "time_features": time_features(np.full(4, 500.0), np.array(manifest.frequencies)),
        "encoder_hidden_states": rng.standard_normal((4, chunks * tokens, width), np.float32),
    }
    shapes = {name: value.shape for name, value in inputs.items()}
    backend = OpenVINOBackend(precision="f32", cached=False)
    model = backend.open(bundle.path(manifest.classes["cyt_mast"].unet), shapes, ("eps",))
    found = model.run(inputs)["eps"]
    unet = UNet2DConditionModel.from_pretrained(whole_path / "merged/cyt_mast/unet").eval()
    with torch.no_grad():
        latents, context = (torch.tensor(inputs[name]) for name in ("latents", "encoder_hidden_states"))
        wanted = unet(latents, torch.full((4,), 500.0), context).sample.numpy()
    # The graph holds float16 weights.
    np.testing.assert_allclose(found, wanted, atol=2e-3 * np.abs(wanted).max())


@pytest.mark.parametrize("clip_skip", [1, 2])
def test_clip_skip_takes_an_earlier_state_through_the_final_normalisation(clip_skip):
    import torch

    from trainer.base.base import open_base

    bundle, module = open_bundle("cells"), open_base("cells").text_encoder
    text_encoder = bundle.path(bundle.manifest.text_encoder.graph)
    tokens = np.array([[553, 66, 88, 339, *[554] * 12], [553, *[554] * 15]])
    backend = OpenVINOBackend(precision="f32", cached=False)
    model = backend.open_text_encoder(text_encoder, {"input_ids": tokens.shape}, clip_skip)
    found = model.run({"input_ids": tokens})["hidden_states"]
    with torch.no_grad():
        states = module(torch.tensor(tokens), output_hidden_states=True).hidden_states
        norm = next(part for name, part in module.named_modules() if name.endswith("final_layer_norm"))
        wanted = norm(states[-clip_skip]).numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-2)
    with pytest.raises(RequestError, match="1 to 2"):
        backend.open_text_encoder(text_encoder, {"input_ids": (1, 16)}, 3)
