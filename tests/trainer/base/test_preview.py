"""Preview pictures of a training."""

from __future__ import annotations

import torch
from PIL import Image

from trainer.base.base import encode_prompts
from trainer.base.preview import draw_preview


def test_a_preview_is_a_row_of_pictures_and_leaves_the_random_state(base, tmp_path):
    with torch.no_grad():
        context = encode_prompts(base, ["cyt mast", ""])
    torch.manual_seed(3)
    before = torch.get_rng_state()
    for name in ("one.png", "two.png"):
        draw_preview(base, context, tmp_path / name, num_inference_steps=1, pictures=3)
    assert torch.equal(torch.get_rng_state(), before)
    with Image.open(tmp_path / "one.png") as picture:
        assert picture.size == (3 * 32, 32)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
