"""The file of a small decoder: read exactly, or refused with the reason."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from engine.errors import RequestError
from exporter.small_decoder import read_small_decoder
from tests.exporter.small_decoders import SETTINGS, random_decoder, write_small_decoder
from trainer.base import small_decoder as trained

FORMAT = "cytosynth small decoder 2"


def test_it_draws_three_channels_at_the_size_of_the_picture(tmp_path):
    decoder, latents = random_decoder(), torch.randn(2, 4, 5, 3)
    found = read_small_decoder(write_small_decoder(tmp_path / "a.safetensors", decoder), 4, 4)
    drawn = found(latents)
    assert drawn.shape == (2, 3, 20, 12)
    # Pixel shuffle: the 12 channels are 3 colours of 2 x 2 pixels.
    inner = decoder(latents).reshape(2, 3, 2, 2, 10, 6).permute(0, 1, 4, 2, 5, 3).reshape(2, 3, 20, 12)
    torch.testing.assert_close(drawn, inner)
    assert found.half()(latents).dtype == torch.float16


def test_it_draws_what_the_trainer_s_decoder_draws(tmp_path):
    torch.manual_seed(0)
    decoder, latents = trained.SmallDecoder(trained.SmallDecoderSettings.of(4, 8, 48)), torch.randn(1, 4, 3, 2)
    trained.write_small_decoder(decoder, tmp_path / "a.safetensors")
    found = read_small_decoder(tmp_path / "a.safetensors", 4, 8)
    assert found.sizes.widths == (96, 64, 48)
    torch.testing.assert_close(found(latents), decoder(latents), rtol=0, atol=0)


def settings(**changes):
    return {"format": FORMAT, "settings": json.dumps({**SETTINGS, **changes})}


def tensors(**changes):
    return {name: value for name, value in {**random_decoder().state_dict(), **changes}.items() if value is not None}


WRONG = {
    "its format is None": ({}, {}),
    "its format is cytosynth refiner 1": ({}, {"format": "cytosynth refiner 1"}),
    "settings": ({}, {"format": FORMAT}),
    "widths .0, 8.": ({}, settings(widths=[0, 8])),
    "widths .8, True.": ({}, settings(widths=[8, True])),
    "factor 4 with 3 widths": ({}, settings(widths=[8, 8, 8])),
    "factor 8 with 2 blocks": ({}, settings(factor=8)),
    "blocks": ({}, settings(blocks=[1, 10**9])),
    "not iterable": ({}, settings(blocks=2)),
    "Missing key": ({"layers.0.bias": None}, settings()),
    "Unexpected key": ({"layers.99.bias": torch.zeros(1)}, settings()),
    "size mismatch": ({"layers.0.bias": torch.zeros(3)}, settings()),
    "layers.0.bias has values": ({"layers.0.bias": torch.full((8,), torch.nan)}, settings()),
    "is not float32": ({"layers.0.bias": torch.zeros(8, dtype=torch.float16)}, settings()),
}


@pytest.mark.parametrize("words", WRONG)
def test_a_wrong_file_is_refused(words, tmp_path):
    changed, metadata = WRONG[words]
    save_file(tensors(**changed), tmp_path / "a.safetensors", metadata)
    with pytest.raises(RequestError, match=words) as caught:
        read_small_decoder(tmp_path / "a.safetensors", 4, 4)
    assert "trainer shrink" in caught.value.fix


@pytest.mark.parametrize("content", [None, b"", b"damaged"])
def test_what_is_no_file_of_tensors_is_refused(content, tmp_path):
    if content is not None:
        (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(RequestError, match="unreadable"):
        read_small_decoder(tmp_path / "a.safetensors", 4, 4)


def test_a_decoder_for_another_base_is_refused(tmp_path):
    path = write_small_decoder(tmp_path / "a.safetensors")
    with pytest.raises(RequestError, match=r"latent_channels[\s\S]*found: +4[\s\S]*16, as the bundle has"):
        read_small_decoder(path, 16, 4)
    with pytest.raises(RequestError, match=r"factor[\s\S]*found: +4[\s\S]*8, as the bundle has"):
        read_small_decoder(path, 4, 8)
