"""`embed`: textual inversion (Gal et al. 2022, arXiv:2208.01618): new words for a class, on a frozen base."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from engine.errors import RequestError
from engine.locks import locked_folder
from trainer.base.base import Base, encode_prompts
from trainer.fitting.class_training import ClassRequest, ClassTraining, Trainee
from trainer.fitting.settings import WordSettings
from trainer.hypernetwork.embeddings import Embedding, add_words, write_embedding, write_webui_embedding
from trainer.training.loop import Training

__all__ = ["embed"]


def embed(base: Base, request: ClassRequest, words: WordSettings | None = None) -> dict[str, Any]:
    """Train new words on prepared pictures of one class and return the record.

    Writes `out/<class>.safetensors` and `out/<class>.json`, and with `webui` also `.pt`. In templates, [name] stands
    for the new words. The tokenizer and the text encoder of the base learn the words.

    Raises RequestError if anything does not fit; nothing is written then.
    """
    words = words or WordSettings()
    most = base.tokenizer.model_max_length - 2
    if not 1 <= words.vectors <= most:
        raise RequestError("--vectors", found=str(words.vectors), expected=f"1 to {most}", fix="change the value")
    with locked_folder(request.out):
        training = ClassTraining(base, request)
        return training.run(_WordsTrainee(training, words))


class _Vectors(nn.Module):
    """The (V, D) vectors of the new words."""

    def __init__(self, start: torch.Tensor) -> None:
        super().__init__()
        self.vectors = nn.Parameter(start.clone())


class _WordsTrainee(Trainee):
    """The vectors of new words as a trainee; see Trainee."""

    model: _Vectors

    def __init__(self, training: ClassTraining, words: WordSettings) -> None:
        self._base, self._request = training.base, training.request
        tokenizer, text_encoder = self._base.tokenizer, self._base.text_encoder
        table = text_encoder.get_input_embeddings()
        begin = tokenizer(words.initial_text, add_special_tokens=False).input_ids or [tokenizer.eos_token_id]
        # The tokens of the initial text, repeated.
        start = table.weight.detach()[[begin[i % len(begin)] for i in range(words.vectors)]]
        embedding = Embedding(self._request.record.class_name, start)
        add_words(self._base, embedding)
        self._ids = tokenizer.convert_tokens_to_ids(list(embedding.words))
        self.model = _Vectors(start)
        text_encoder.requires_grad_(False).to(self._request.compute.device)
        self.name = embedding.prompt
        self.templates = ("[name]",)
        self.subject = ()
        self.weights = (start,)
        self.facts = {
            "vectors": words.vectors,
            "initial_text": words.initial_text,
            "words": embedding.prompt,
        }

    @contextmanager
    def attached(self) -> Iterator[None]:
        """See Trainee. A hook on the text encoder's embedding table returns the vectors for the new tokens."""

        def replace(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
            for row, token in zip(self.model.vectors, self._ids, strict=True):
                output = torch.where((inputs[0] == token)[..., None], row.to(output.dtype), output)
            return output

        hook = self._base.text_encoder.get_input_embeddings().register_forward_hook(replace)
        try:
            yield
        finally:
            hook.remove()

    def context(self, prompts: list[str]) -> torch.Tensor:
        """See Trainee."""
        return encode_prompts(self._base, prompts)

    def write(self, path: Path, step: int, training: Training) -> None:
        """See Trainee."""
        record = self._request.record
        found = Embedding(record.class_name, self.model.vectors.detach(), step, record)
        write_embedding(path, found)
        if self._request.settings.output.webui:
            write_webui_embedding(path.with_suffix(".pt"), found)
