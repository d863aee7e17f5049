"""The models that tables and distillation learn from."""

from __future__ import annotations

import torch
from diffusers import UNet2DConditionModel

from trainer.tables.subjects import open_subjects
from trainer.training.devices import Compute

CLASSES = ("cyt_mast", "cyt_nep_mast")


def bytes_of(unets):
    """Return the bytes of all distinct tensors."""
    storages = {tensor.untyped_storage().data_ptr(): tensor for unet in unets for tensor in unet.parameters()}
    return sum(tensor.untyped_storage().nbytes() for tensor in storages.values())


def test_equal_tensors_of_classes_are_in_memory_once(whole_path):
    """Hypernetworks change little beside keys and values of attention. A move to bfloat16 keeps the rest shared."""
    folders = [whole_path / f"merged/{name}" for name in CLASSES]
    unets = [subject.base.unet for subject in open_subjects(folders)]
    for folder, unet in zip(folders, unets, strict=True):
        alone = UNet2DConditionModel.from_pretrained(folder / "unet").state_dict()
        for name, tensor in unet.state_dict().items():
            torch.testing.assert_close(tensor, alone[name], rtol=0, atol=0)
    whole = bytes_of(unets[:1])
    changed = sum(
        one.nbytes
        for one, other in zip(*(unet.parameters() for unet in unets), strict=True)
        if not torch.equal(one, other)
    )
    assert 0 < changed < whole / 10
    assert bytes_of(unets) == whole + changed
    for unet in unets:
        Compute(precision="bf16").ready(unet)
    assert bytes_of(unets) == (whole + changed) / 2
