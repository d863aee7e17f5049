"""The small classifier: its start, its augmentation and its probabilities."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from evaluate.studies.classifier import augment, make_classifier, predict
from trainer.pictures.phantom import draw

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_start_gives_its_body_and_not_its_head():
    start = make_classifier(3, 7)
    same, other = make_classifier(2, 0, start), make_classifier(2, 0)
    torch.testing.assert_close(same.body.state_dict(), start.body.state_dict(), rtol=0, atol=0)
    assert torch.equal(same.head.weight, other.head.weight)
    assert not torch.equal(other.body[0].weight, start.body[0].weight)


def test_augmentation_keeps_the_range_and_probabilities_add_to_one():
    pictures = np.stack([draw("cyt_mast", seed, 16)[0] for seed in range(6)])
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2).float()
    first, second = (augment(images, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert first.shape == images.shape
    assert 0 <= first.min() <= first.max() <= 255
    assert (first - images).abs().mean() > 5
    # The same picture six times: every copy is changed in its own way, and stays about as bright.
    copies = augment(images[:1].repeat(6, 1, 1, 1), torch.Generator().manual_seed(0))
    assert (copies[0] - copies[1:]).abs().mean((1, 2, 3)).min() > 1
    assert float(copies.mean()) == pytest.approx(float(images[0].mean()), rel=0.1)
    np.testing.assert_allclose(predict(make_classifier(3, 0), pictures).sum(1), 1)
