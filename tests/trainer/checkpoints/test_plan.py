"""The plan of a merge: what is decided from the headers alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.errors import RequestError
from tests.trainer.checkpoints.checkpoint_files import INPUT, POSITIONS, VAE, state
from trainer.checkpoints.plan import Way, kind_of, plan_of
from trainer.checkpoints.settings import MergeSettings
from trainer.checkpoints.tensor_file import Entry, TensorFile


def of(tensors, name="a.safetensors"):
    """Return the header of a file that does not exist, so that no tensor can be read."""
    entries = {key: Entry(tensor.dtype, tuple(tensor.shape)) for key, tensor in tensors.items()}
    return TensorFile(Path("nowhere", name), entries, {})


def plan(*files, vae=None, **changes):
    return plan_of(files, vae, MergeSettings(out=Path("out.safetensors"), **changes))


def test_what_becomes_of_each_tensor():
    found = plan(of(state(0)), of(state(1)), vae=of({"decoder.conv_in.bias": torch.ones(5)}))
    assert found.ways[INPUT] is Way.MERGED
    assert found.ways[POSITIONS] is found.ways["alphas_cumprod"] is Way.KEPT
    assert found.ways[f"{VAE}decoder.conv_in.bias"] is Way.BAKED
    assert found.count(Way.KEPT) == 2
    assert found.wider is None


def test_whole_numbers_are_never_merged():
    counted = {**state(0), "model_ema.num_updates": torch.tensor(3)}
    assert plan(of(counted), of(counted)).ways["model_ema.num_updates"] is Way.KEPT


def test_shapes_of_b_and_c_must_fit_each_other():
    with pytest.raises(RequestError, match=r"input_blocks\.0\.0\.weight of \[8, 9, 3, 3\] and \[8, 4, 3, 3\] and"):
        plan(of(state(0, 9)), of(state(1)), of(state(2, 9)), method="add-difference")
    assert plan(of(state(0, 9)), of(state(1, 9)), of(state(2, 9)), method="add-difference").wider is None


@pytest.mark.parametrize(
    ("vae", "words"),
    [
        ({"down_blocks.0.x": torch.ones(1)}, "no tensor of a VAE"),
        ({"decoder.conv_in.bias": torch.ones(6)}, r"of \[6\]"),
    ],
)
def test_a_vae_that_does_not_fit_is_refused(vae, words):
    with pytest.raises(RequestError, match=words):
        plan(of(state(0)), of(state(1)), vae=of(vae, "vae.safetensors"))


def test_the_kind_of_a_checkpoint():
    assert kind_of(of(state(0)).entries) == "Stable Diffusion 1"
    assert kind_of(of({"conditioner.embedders.0.x": torch.ones(1)}).entries) == "Stable Diffusion XL"
    assert kind_of(of({"x": torch.ones(1)}).entries) is None
