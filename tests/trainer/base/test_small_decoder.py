"""The small decoder: its equation, and its file."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest
import torch
from diffusers.models.autoencoders.vae import DecoderTiny
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from engine.errors import RequestError
from trainer.base.small_decoder import (
    SmallDecoder,
    SmallDecoderSettings,
    expect_fitting,
    read_small_decoder,
    write_small_decoder,
)

NAME = "small_decoder.safetensors"


def random_decoder(latent_channels=4, factor=4, width=8):
    torch.manual_seed(0)
    return SmallDecoder(SmallDecoderSettings.of(latent_channels, factor, width)).eval().requires_grad_(False)


def test_with_one_width_it_is_the_tiny_decoder_of_diffusers_before_a_pixel_shuffle():
    decoder = SmallDecoder(SmallDecoderSettings(16, 8, blocks=(3, 3, 1), widths=(8, 8, 8))).requires_grad_(False)
    peer = DecoderTiny(16, 12, (3, 3, 1), (8, 8, 8), 2, "relu", "nearest")
    peer.load_state_dict(decoder.state_dict())
    latents = torch.randn(2, 16, 3, 5)
    found = decoder(latents)
    assert found.shape == (2, 3, 24, 40)
    torch.testing.assert_close(found, nn.functional.pixel_shuffle(peer(latents), 2), rtol=0, atol=0)


SIZES = [(2, (1,), (48,)), (4, (3, 1), (64, 48)), (8, (3, 3, 1), (96, 64, 48)), (16, (3, 3, 3, 1), (136, 96, 64, 48))]


@pytest.mark.parametrize(("factor", "blocks", "widths"), SIZES)
def test_its_blocks_and_widths_follow_from_the_factor(factor, blocks, widths):
    decoder = random_decoder(factor=factor, width=48)
    assert decoder.settings == SmallDecoderSettings(4, factor, blocks, widths)
    assert decoder(torch.zeros(1, 4, 1, 2)).shape == (1, 3, factor, 2 * factor)


def test_a_file_gives_the_same_decoder(tmp_path):
    decoder = random_decoder()
    write_small_decoder(decoder, tmp_path / NAME)
    again = read_small_decoder(tmp_path / NAME)
    assert again.settings == decoder.settings
    assert not any(parameter.requires_grad for parameter in again.parameters())
    latents = torch.randn(2, 4, 3, 5)
    torch.testing.assert_close(again(latents), decoder(latents), rtol=0, atol=0)
    with safe_open(tmp_path / NAME, "pt") as file:
        metadata = file.metadata()
    assert metadata["format"] == "cytosynth small decoder 2"
    assert json.loads(metadata["settings"]) == json.loads(json.dumps(asdict(decoder.settings)))


def damages(path):
    """Ways to damage a file, by a word of the error."""
    tensors = load_file(path)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    settings = json.loads(metadata["settings"])

    def other(**changes):
        return {**metadata, "settings": json.dumps({**settings, **changes})}

    first = "layers.0.weight"
    wrong = {
        "Missing key": ({name: value for name, value in tensors.items() if name != first}, metadata),
        "Unexpected key": ({**tensors, "layers.99.bias": torch.ones(1)}, metadata),
        "size mismatch": ({**tensors, first: tensors[first][:, :1].contiguous()}, metadata),
        "not finite": ({**tensors, first: torch.full_like(tensors[first], torch.inf)}, metadata),
        "torch.float16 instead of float32": ({**tensors, first: tensors[first].half()}, metadata),
        "its format is other": (tensors, {**metadata, "format": "other"}),
        "its format is None": (tensors, {}),
        "factor 6": (tensors, other(factor=6)),
        "latent_channels 0": (tensors, other(latent_channels=0)),
        "widths .True, 8.": (tensors, other(widths=[True, 8])),
        "widths .100000, 8.": (tensors, other(widths=[100_000, 8])),
        "widths .8, 8, 8.": (tensors, other(widths=[8, 8, 8])),
        "instead of 2 whole numbers": (tensors, other(blocks=[])),
        "blocks .3, 65.": (tensors, other(blocks=[3, 65])),
        "unexpected keyword": (tensors, other(depth=3)),
        # Settings far beyond the tensors take no memory.
        "Missing key|size mismatch": (tensors, other(widths=[4096, 4096], blocks=[64, 64])),
    }
    for word, (changed, about) in wrong.items():
        save_file(changed, path, about)
        yield word
    path.write_bytes(path.read_bytes()[:-5])
    yield "unreadable"


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / NAME
    write_small_decoder(random_decoder(), path)
    for word in damages(path):
        with pytest.raises(RequestError, match=word):
            read_small_decoder(path)


def test_a_decoder_of_another_vae_is_refused(base, tmp_path):
    expect_fitting(random_decoder(), base.vae, tmp_path / NAME)
    for other in ({"factor": 8}, {"latent_channels": 16}):
        with pytest.raises(RequestError, match="4 latent channels, 4 pixels per latent pixel, as the VAE"):
            expect_fitting(random_decoder(**other), base.vae, tmp_path / NAME)
