"""Captions from templates, caption files and tags."""

from __future__ import annotations

import torch

from trainer.base.caption_files import read_templates
from trainer.base.prompts import Captions


def test_captions(tmp_path):
    (tmp_path / "t.txt").write_text("a photo of [name], [filewords]\n\n[filewords]\n")
    generator = torch.Generator().manual_seed(0)
    captions = Captions("cyst", read_templates(tmp_path / "t.txt"), ("round, dark, large",))
    drawn = {captions.draw(0, generator) for _ in range(20)}
    assert drawn == {"a photo of cyst, round, dark, large", "round, dark, large"}
    shuffled = Captions("cyst", ("[filewords]",), ("a, b, c",), shuffle_tags=True, tag_dropout=0.3)
    drawn = [shuffled.draw(0, generator) for _ in range(200)]
    assert {tag for text in drawn for tag in text.split(", ") if tag} == {"a", "b", "c"}
    assert len(set(drawn)) > 8
    kept = sum(len([tag for tag in text.split(", ") if tag]) for text in drawn) / 600
    assert 0.6 < kept < 0.8
