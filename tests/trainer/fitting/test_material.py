"""Order of the pictures in a training."""

from __future__ import annotations

import torch

from trainer.fitting.material import EpochOrder


def test_an_epoch_shows_every_picture_once():
    order = EpochOrder(10, 4, seed=1)
    rows = torch.cat([order.batch(i) for i in range(5)])
    assert sorted(rows[:10].tolist()) == sorted(rows[10:].tolist()) == list(range(10))
    assert rows[:10].tolist() != rows[10:].tolist()
    torch.testing.assert_close(EpochOrder(10, 4, seed=1).batch(3), rows[12:16])
