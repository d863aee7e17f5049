"""The training loop: an interrupted training continues exactly, and a checkpoint of another training is refused."""

from __future__ import annotations

import pytest
import torch

from engine.errors import RequestError
from trainer.training.loop import Training
from trainer.training.settings import decaying_loop


def test_a_run_that_was_cut_off_ends_where_the_whole_run_ends(tmp_path):
    settings = decaying_loop(40, 32, 0.03, warmup=2, ema_decay=0.9)

    def train(folder, stop_at=None):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1))
        model.register_buffer("steps_seen", torch.zeros(()))

        def loss_of(step, generator):
            if step == stop_at:
                raise KeyboardInterrupt
            x = torch.randn(settings.batch_size, 3, generator=generator)
            return (model(x) - x.sum(1, keepdim=True)).pow(2).mean()

        training = Training("line", model, loss_of, settings, folder, subject="x")
        record = training.run(checkpoint_every_s=0, after_step=model.steps_seen.add_)
        return model.state_dict(), record

    whole, record = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", stop_at=23)
    continued, _ = train(tmp_path / "cut")
    for name, tensor in whole.items():
        torch.testing.assert_close(continued[name], tensor, rtol=0, atol=0)
    assert (tmp_path / "cut/line.csv").read_text() == (tmp_path / "whole/line.csv").read_text()
    assert record["loss_last"] < record["loss_first"]
    for other, subject in ((decaying_loop(9, 4, 0.01), "x"), (settings, "y")):
        with pytest.raises(RequestError, match="checkpoint"):
            Training("line", torch.nn.Linear(3, 1), lambda *_: None, other, tmp_path / "whole", subject=subject)
    (tmp_path / "whole/line.pt").write_bytes(b"no checkpoint")
    with pytest.raises(RequestError, match="unreadable"):
        Training("line", torch.nn.Linear(3, 1), lambda *_: None, settings, tmp_path / "whole", subject="x")
