import pytest
import torch

from engine.errors import RequestError
from trainer.training.kept_latents import kept_latents


def test_latents_are_drawn_once_and_only_for_their_own_training(tmp_path):
    path, drawn = tmp_path / "checkpoints/turbo.safetensors", []

    def draw():
        drawn.append(torch.arange(6.0).reshape(2, 3))
        return {"a": drawn[-1], "b": drawn[-1].half()}

    first = kept_latents(path, "one", draw)
    again = kept_latents(path, "one", draw)
    assert len(drawn) == 1
    torch.testing.assert_close(again, first, rtol=0, atol=0)
    with pytest.raises(RequestError, match="of other classes or settings"):
        kept_latents(path, "two", draw)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RequestError, match="drawn latents"):
        kept_latents(path, "one", draw)
