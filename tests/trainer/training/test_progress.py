"""What a training writes while it runs, and what it cost."""

from __future__ import annotations

import builtins

import pytest

from engine.errors import RequestError
from trainer.training.progress import TrainingLog
from trainer.training.settings import LoopSettings


def test_snapshots_and_previews_are_due_at_their_intervals():
    log = TrainingLog(save_every=3)
    assert [done for done in range(1, 8) if log.saves(done)] == [3, 6]
    assert not any(log.previews(done) for done in range(1, 8))


def test_costs_follow_from_the_record_of_a_run():
    run = {"steps_done": 30, "seconds_per_step": 0.5, "seconds": 1800}
    loop = LoopSettings(30, 4, accumulation=2)
    assert TrainingLog().costs(run, 80, loop) == {"epochs": 3.0, "seconds_per_epoch": 5.0}
    assert TrainingLog(usd_per_hour=2.5).costs(run, 80, loop)["usd"] == 1.25


def test_without_tensorboard_the_package_is_named(monkeypatch):
    real = builtins.__import__

    def without(name, *more):
        if name == "torch.utils.tensorboard":
            raise ImportError("No module named 'tensorboard'")
        return real(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(RequestError, match="pip install tensorboard"):
        TrainingLog(tensorboard=True)
