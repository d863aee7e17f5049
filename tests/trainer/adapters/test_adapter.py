"""One interface: every kind of file is read by what it contains, and acts on a base beside its weights."""

from __future__ import annotations

import copy

import pytest
import torch

from engine.errors import RequestError
from tests.trainer.hypernetwork.examples import RECORD, evaluate_unet, strong
from tests.trainer.lora.examples import kohya, layers_of, lora_tensors, written
from trainer.adapters.adapter import read_adapter
from trainer.adapters.unet_weights import UnetWeights, write_unet_weights
from trainer.hypernetwork.files import HypernetworkFile, write_hypernetwork, write_webui


def files_of(base, folder):
    """Write a file of every kind for a base. Return the path by the kind that is expected."""
    written(folder / "lora.safetensors", lora_tensors(layers_of(base.unet), kohya))
    torch.save(lora_tensors(layers_of(base.unet), kohya), folder / "lora.pt")
    file = HypernetworkFile(strong(), "hyper", 1, RECORD)
    write_hypernetwork(folder / "hypernet.safetensors", file)
    write_webui(folder / "hypernet.pt", file)
    tensors = {name: tensor + 0.01 for name, tensor in base.unet.state_dict().items()}
    write_unet_weights(folder / "unet.safetensors", UnetWeights(tensors, "whole", 3, RECORD, "0" * 64))
    return sorted(folder.iterdir())


def test_every_kind_is_recognised_and_leaves_the_base_as_it_was(base, tmp_path):
    plain = evaluate_unet(base)
    paths = files_of(base, tmp_path)
    assert len(paths) == 5
    for path in paths:
        adapter = read_adapter(path)
        assert adapter.kind == path.stem
        adapter.expect_fitting(base)
        with adapter.attached(base, 0.5):
            half = evaluate_unet(base)
        with adapter.attached(base, 0):
            none = evaluate_unet(base)
        assert not torch.allclose(half, plain)
        torch.testing.assert_close(none, plain)
        torch.testing.assert_close(evaluate_unet(base), plain)


def test_a_trained_unet_of_another_base_is_refused(base, tmp_path):
    other = copy.deepcopy(base)
    tensors = {name: tensor for name, tensor in base.unet.state_dict().items() if name != "conv_in.bias"}
    write_unet_weights(tmp_path / "unet.safetensors", UnetWeights(tensors, "whole"))
    with pytest.raises(RequestError, match=r"tensor conv_in\.bias"):
        read_adapter(tmp_path / "unet.safetensors").expect_fitting(other)
    (tmp_path / "unet.safetensors").write_bytes(b"nothing")
    with pytest.raises(RequestError, match="unreadable"):
        read_adapter(tmp_path / "unet.safetensors")
