"""The multipliers of blocks: their text, and the block of a tensor."""

from __future__ import annotations

import pytest

from engine.errors import RequestError
from trainer.checkpoints.blocks import BLOCKS, block_of, parse_blocks


def test_twenty_five_and_twenty_six_numbers():
    numbers = [i / 25 for i in range(26)]
    with_base = parse_blocks(",".join(map(str, numbers)))
    assert with_base.of == dict(zip(("BASE", *BLOCKS), numbers, strict=True))
    without = parse_blocks(", ".join(map(str, numbers[1:])))
    assert without.of == dict(zip(BLOCKS, numbers[1:], strict=True))
    assert without.multiplier("first_stage_model.x", 0.9) == 0.9


def test_names_without_numbers_for_the_others():
    weights = parse_blocks("m00=0.5, OUT11 = 1")
    assert weights.multiplier("model.diffusion_model.middle_block.1.proj_in.weight", 0.3) == 0.5
    assert weights.multiplier("model.diffusion_model.out.2.weight", 0.3) == 1
    assert weights.multiplier("model.diffusion_model.input_blocks.1.0.x", 0.3) == 0.3


@pytest.mark.parametrize(
    "text",
    ["", "0.5", ",".join(["0.1"] * 24), ",".join(["0.1"] * 27), "IN12=1", "M00=x", "M00=1.5", "M00=nan", "M00=1,M00=0"],
)
def test_wrong_texts_are_refused(text):
    with pytest.raises(RequestError, match="--blocks"):
        parse_blocks(text)


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("model.diffusion_model.time_embed.0.weight", "IN00"),
        ("model.diffusion_model.input_blocks.10.0.in_layers.2.weight", "IN10"),
        ("model.diffusion_model.output_blocks.1.1.norm.bias", "OUT01"),
        ("cond_stage_model.transformer.text_model.encoder.layers.0.mlp.fc1.bias", "BASE"),
        ("model_ema.diffusion_modelinput_blocks10weight", "BASE"),
    ],
)
def test_the_block_of_a_tensor(name, block):
    assert block_of(name) == block
