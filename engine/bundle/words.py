"""The prompts of a user, as the text encoder of a bundle reads them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from engine.bundle.folder import Bundle, unreadable
from engine.bundle.request import GenerateRequest
from engine.errors import RequestError
from engine.sampling.prompts import read_prompt

__all__ = ["open_tokenizer", "with_used_prompts"]


def open_tokenizer(bundle: Bundle) -> Any:
    """Return the tokenizers.Tokenizer of a bundle. Raises RequestError if the library is missing, or for a bad file."""
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise RequestError(
            "--prompt and --negative-prompt",
            found="the package tokenizers is not installed",
            expected="tokenizers, which turns words into tokens",
            fix="pip install 'cytosynth[prompts]'",
        ) from None
    files = bundle.manifest.text_encoder
    assert files is not None, "make_request refuses a prompt if the bundle has no text encoder"
    path = bundle.path(files.tokenizer)
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain exceptions
        raise unreadable(path, error) from error


def with_used_prompts(bundle: Bundle, request: GenerateRequest) -> tuple[GenerateRequest, tuple[str, ...]]:
    """Return the request with the part of its prompts that the text encoder takes, and warnings about the rest.

    So the metadata of each picture states what was used. Raises RequestError as `open_tokenizer` does.
    """
    given = {"prompt": request.prompt, "negative_prompt": request.negative_prompt}
    if not any(given.values()):
        return request, ()
    tokenizer = open_tokenizer(bundle)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    encode = partial(tokenizer.encode, add_special_tokens=False)
    room = bundle.manifest.context_shape[0] - tokenizer.num_special_tokens_to_add(False)
    vocabulary = tokenizer.get_vocab_size(with_added_tokens=False)
    used: dict[str, Any] = {}
    warnings: list[str] = []
    for name, prompt in given.items():
        if prompt:
            read = read_prompt(encode, prompt, room, vocabulary)
            used[name] = read.used
            warnings += read.warnings(f"--{name.replace('_', '-')}")
    return replace(request, **used), tuple(warnings)
