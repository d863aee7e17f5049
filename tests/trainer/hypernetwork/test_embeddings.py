"""Files of embeddings, and words that do not fit the base."""

from __future__ import annotations

import pytest
import torch

from engine.errors import RequestError
from trainer.base.base import open_base
from trainer.hypernetwork.embeddings import Embedding, add_words, read_embedding, write_embedding, write_webui_embedding


def test_embeddings_that_do_not_fit_are_refused(whole_path, tmp_path):
    base = open_base(whole_path / "base")
    with pytest.raises(RequestError, match="vectors of 7"):
        add_words(base, Embedding("x", torch.zeros(1, 7)))
    add_words(base, Embedding("x", torch.zeros(1, 16)))
    with pytest.raises(RequestError, match="already"):
        add_words(base, Embedding("x", torch.zeros(1, 16)))
    write_embedding(tmp_path / "a.safetensors", Embedding("x", torch.zeros(16)))
    write_webui_embedding(tmp_path / "b.pt", Embedding("x", torch.zeros(3)))
    (tmp_path / "c.pt").write_bytes(b"x")
    for name in ("a.safetensors", "b.pt", "c.pt", "none.pt"):
        with pytest.raises(RequestError):
            read_embedding(tmp_path / name)
