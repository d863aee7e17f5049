"""The device and the precision of a training."""

from __future__ import annotations

import pytest
import torch

from engine.errors import RequestError
from trainer.training.devices import choose_compute, draw_normal
from trainer.training.settings import Hardware


def test_the_cpu_computes_in_float32_unless_bfloat16_is_asked_for(base):
    compute = choose_compute(Hardware(device="cpu"))
    assert compute.as_json() == {
        "device": "cpu",
        "precision": "f32",
        "gradient_checkpointing": False,
        "compiled": False,
    }
    unet = choose_compute(Hardware(device="cpu", precision="bf16")).ready(base.unet)
    assert unet.dtype == torch.bfloat16
    assert not any(parameter.requires_grad for parameter in unet.parameters())


@pytest.mark.parametrize("device", ["cuda:99", "mps", "abacus"])
def test_a_device_that_torch_cannot_use_is_refused(device):
    with pytest.raises(RequestError, match="--device"):
        choose_compute(Hardware(device=device))


def test_noise_depends_on_its_generator_alone():
    one, two = (draw_normal((2, 3), torch.Generator().manual_seed(5), torch.device("cpu")) for _ in range(2))
    assert torch.equal(one, two)
