"""The refiner: its equations, its file, and its way through base, merged folder and preview."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from engine.errors import RequestError
from tests.stochastic import random_refiner
from tests.trainer.hypernetwork.examples import RECORD
from trainer.adapters.merge import merge
from trainer.base.base import encode_prompts, open_base
from trainer.base.preview import draw_preview
from trainer.base.refiner import REFINER_FILE, Refiner, RefinerSettings, decode_latents, read_refiner, write_refiner

GENERATOR = torch.Generator()


def inputs(settings, h=3, w=5):
    f, generator = settings.factor, torch.Generator().manual_seed(1)

    def normal(*shape):
        return torch.randn(2, *shape, generator=generator)

    noise = normal(settings.planes, h * f // 2, w * f // 2)
    return normal(3, h * f, w * f), normal(settings.latent_channels, h, w), noise


def test_its_sizes_are_those_of_the_prototype():
    """175,756 weights and 13 planes, as docs/notes/first-refiners.md says."""
    refiner = Refiner(RefinerSettings(latent_channels=16, factor=8))
    assert sum(weight.numel() for weight in refiner.parameters()) == 175_756
    assert refiner.settings.planes == 13
    assert refiner.draw_noise(torch.zeros(2, 16, 4, 6), GENERATOR).shape == (2, 13, 16, 24)


def test_each_noise_plane_enters_where_it_should():
    """Every plane changes the picture; without strengths only those beside the picture do."""
    refiner = random_refiner(context_width=0)
    pictures, latents, noise = inputs(refiner.settings)
    plain = refiner(pictures, latents, noise)
    for plane in range(refiner.settings.planes):
        other = noise.clone()
        other[:, plane] += 1
        assert (refiner(pictures, latents, other) - plain).abs().max() > 1e-3
    for strength in refiner.strengths:
        nn.init.zeros_(strength)
    plain, other = refiner(pictures, latents, noise), noise.clone()
    other[:, refiner.settings.noise_planes :] += 1
    torch.testing.assert_close(refiner(pictures, latents, other), plain, rtol=0, atol=0)


def test_a_last_convolution_of_zeros_leaves_the_picture_as_it_is():
    refiner = random_refiner()
    nn.init.zeros_(refiner.convs[-1].weight)
    nn.init.zeros_(refiner.convs[-1].bias)
    pictures, latents, noise = inputs(refiner.settings)
    torch.testing.assert_close(refiner(pictures, latents, noise), pictures, rtol=0, atol=0)


@pytest.mark.parametrize("factor", [2, 4, 8])
def test_the_context_branch_sees_noise_of_variance_1_and_a_wide_neighbourhood(factor):
    refiner = random_refiner(factor=factor)
    seen = []
    refiner.context[0].register_forward_hook(lambda module, arguments, output: seen.append(arguments[0]))
    pictures, latents, noise = inputs(refiner.settings, 40, 40)
    plain = refiner(pictures, latents, noise)
    assert seen[0].shape == (2, 4 + 3 * factor**2 + 8, 40, 40)
    assert seen[0][:, -8:-4].std() == pytest.approx(1, abs=0.03)
    # Averages over the whole picture: one number per plane.
    expected = noise[:, 4:8].sum((2, 3)) / (noise.shape[2] * noise.shape[3]) ** 0.5
    torch.testing.assert_close(seen[0][:, -4:], expected[:, :, None, None].expand(2, 4, 40, 40))
    changed = pictures.clone()
    changed[:, :, : factor // 2] += 1
    reached = (refiner(changed, latents, noise) - changed - plain + pictures).abs().amax((0, 1, 3)).nonzero().max()
    assert reached >= 3 * factor


def test_a_file_gives_the_same_refiner(tmp_path):
    refiner = random_refiner()
    write_refiner(refiner, tmp_path / REFINER_FILE)
    again = read_refiner(tmp_path / REFINER_FILE)
    assert again.settings == refiner.settings
    values = inputs(refiner.settings)
    torch.testing.assert_close(again(*values), refiner(*values), rtol=0, atol=0)


def damages(path):
    """Ways to damage a file, by a word of the error."""
    tensors = load_file(path)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    settings = json.loads(metadata["settings"])

    def other(**changes):
        return {**metadata, "settings": json.dumps({**settings, **changes})}

    wrong = {
        "Missing key": ({name: value for name, value in tensors.items() if name != "convs.1.bias"}, metadata),
        "Unexpected key": ({**tensors, "convs.9.bias": torch.ones(1)}, metadata),
        "size mismatch": ({**tensors, "strengths.0": torch.ones(1, 3, 1, 1)}, metadata),
        "not finite": ({**tensors, "strengths.0": torch.full((1, 16, 1, 1), torch.nan)}, metadata),
        "its format is other": (tensors, {**metadata, "format": "other"}),
        "factor 3": (tensors, other(factor=3)),
        "convolutions 1": (tensors, other(convolutions=1)),
        "noise_planes 3": (tensors, other(noise_planes=3)),
        "width True": (tensors, other(width=True)),
        "width 100000": (tensors, other(width=100_000)),
        "unexpected keyword": (tensors, other(depth=3)),
    }
    for word, (changed, about) in wrong.items():
        save_file(changed, path, about)
        yield word
    path.write_bytes(path.read_bytes()[:-5])
    yield "unreadable"


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / REFINER_FILE
    write_refiner(random_refiner(), path)
    for word in damages(path):
        with pytest.raises(RequestError, match=word):
            read_refiner(path)


def test_a_base_keeps_it_a_merge_takes_it_along_and_diffusers_ignores_it(base, tmp_path):
    base.refiner = random_refiner()
    merge(base, [], tmp_path / "merged", RECORD)
    again = open_base(tmp_path / "merged")
    torch.testing.assert_close(again.refiner.state_dict(), base.refiner.state_dict(), rtol=0, atol=0)
    pipeline = StableDiffusionPipeline.from_pretrained(tmp_path / "merged", local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline("cyt mast", num_inference_steps=1, output_type="np").images.shape == (1, 32, 32, 3)


def test_a_refiner_of_another_vae_is_refused(base, tmp_path):
    base.refiner = random_refiner(factor=8)
    base.save(tmp_path / "base")
    with pytest.raises(RequestError, match="8 pixels per latent pixel"):
        open_base(tmp_path / "base")


def test_decoding_adds_the_grain_of_the_generator(base):
    latents = torch.randn(2, 4, 8, 8)

    def decoded(refiner, seed=0):
        return decode_latents(base.vae, refiner, latents, torch.Generator().manual_seed(seed))

    refiner = random_refiner()
    plain = decoded(None)
    noise = refiner.draw_noise(latents, torch.Generator().manual_seed(0))
    torch.testing.assert_close(decoded(refiner), refiner(plain, latents, noise))
    torch.testing.assert_close(decoded(refiner), decoded(refiner), rtol=0, atol=0)
    assert (decoded(refiner) - decoded(refiner, 1)).abs().mean() > 0.01


def test_a_preview_shows_grain_and_repeats_itself(base, tmp_path):
    context = encode_prompts(base, ["cyt mast", ""]).detach()
    pictures = []
    for name, refiner in (("plain", None), ("one", random_refiner()), ("two", random_refiner())):
        base.refiner = refiner
        draw_preview(base, context, tmp_path / f"{name}.png", num_inference_steps=2, pictures=2)
        with Image.open(tmp_path / f"{name}.png") as picture:
            pictures.append(np.asarray(picture).astype(int))
    assert np.array_equal(pictures[1], pictures[2])
    assert np.abs(pictures[0] - pictures[1]).mean() > 1
