"""Prepared pictures in memory."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from engine.errors import RequestError
from trainer.pictures.dataset import SYMMETRIES, PictureSet, read_set, to_model_range, turn


def test_folders_are_joined_by_the_names_of_their_classes(tmp_path):
    for name, shade in (("one/a", 0), ("one/b", 51), ("two/b", 255)):
        (tmp_path / name).mkdir(parents=True)
        Image.new("RGB", (8, 8), (shade, 0, 0)).save(tmp_path / name / "0.png")
    data = read_set([tmp_path / "one", tmp_path / "two"])
    assert (data.class_names, data.labels.tolist(), data.size) == (["a", "b"], [0, 1, 1], 8)
    assert data.pictures[:, 0, 0, 0].tolist() == [0, 51, 255]
    assert to_model_range(data.pictures)[:, 0, 0, 0].tolist() == pytest.approx([-1, -0.6, 1])
    Image.new("RGB", (9, 8)).save(tmp_path / "two/b/1.png")
    with pytest.raises(RequestError, match="9 x 8 pixels"):
        read_set([tmp_path / "one", tmp_path / "two"])


def test_a_balanced_draw_does_not_depend_on_the_sizes_of_classes():
    data = PictureSet(torch.zeros(101, 3, 1, 1), torch.tensor([0] * 100 + [1]), ["many", "one"], [])
    rows = data.draw_balanced(2000, torch.Generator().manual_seed(0))
    assert (rows == 100).float().mean() == pytest.approx(0.5, abs=0.05)
    assert len(rows.unique()) > 95
    assert torch.equal(data.sample(5), data.sample(5))
    assert len(data.sample(500)) == 101


def test_the_eight_symmetries_differ_and_keep_the_pixels():
    picture = torch.arange(9).reshape(1, 3, 3)
    turned = [turn(picture, which) for which in SYMMETRIES]
    assert len({tuple(one.flatten().tolist()) for one in turned}) == 8
    assert all(torch.equal(one.flatten().sort().values, picture.flatten()) for one in turned)
    assert torch.equal(turned[0], picture)
