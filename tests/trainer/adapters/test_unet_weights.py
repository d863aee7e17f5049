"""Files of a trained UNet: they come back as they were, and a merge puts them in place of the base's UNet."""

from __future__ import annotations

import pytest
import torch

from engine.errors import CytosynthError, RequestError
from tests.trainer.hypernetwork.examples import RECORD
from trainer.adapters.merge import merge
from trainer.adapters.unet_weights import UnetWeights, read_unet_weights, write_unet_weights
from trainer.base.base import digest_of, open_base


def test_a_trained_unet_replaces_the_one_of_the_base(base, tmp_path):
    tensors = {name: tensor + 0.01 * torch.randn_like(tensor) for name, tensor in base.unet.state_dict().items()}
    sha256 = digest_of(base.unet)
    write_unet_weights(tmp_path / "unet.safetensors", UnetWeights(tensors, "whole", 3, RECORD, sha256))
    file = read_unet_weights(tmp_path / "unet.safetensors")
    assert (file.name, file.step, file.record, file.base_sha256) == ("whole", 3, RECORD, sha256)
    done = merge(base, [(file, 1.0)], tmp_path / "out", RECORD)
    assert done.changed == [f"whole: the whole UNet, {len(tensors)} tensors"]
    found = open_base(tmp_path / "out").unet.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def test_weights_that_are_not_finite_are_refused(base, tmp_path):
    tensors = dict(base.unet.state_dict()) | {"conv_in.bias": torch.full_like(base.unet.conv_in.bias, float("inf"))}
    write_unet_weights(tmp_path / "unet.safetensors", UnetWeights(tensors, "whole"))
    with pytest.raises(RequestError, match=r"not finite in conv_in\.bias"):
        read_unet_weights(tmp_path / "unet.safetensors")


def test_a_multiplier_beyond_float32_is_refused_and_nothing_is_written(base, tmp_path):
    tensors = {name: tensor + 1 for name, tensor in base.unet.state_dict().items()}
    with pytest.raises(CytosynthError, match="not finite in"):
        merge(base, [(UnetWeights(tensors, "whole"), 1e39)], tmp_path / "out", RECORD)
    assert not (tmp_path / "out").exists()
