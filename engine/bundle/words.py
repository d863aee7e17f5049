"""The prompts of a user, as the text encoder of a bundle reads them."""

from __future__ import annotations

from functools import partial
from typing import Any

from engine.bundle.folder import Bundle, unreadable
from engine.bundle.request import GenerateRequest
from engine.errors import RequestError
from engine.sampling.prompt_syntax import parse_prompt
from engine.sampling.prompts import ReadPrompt, unknown_words

__all__ = ["open_tokenizer", "prompt_warnings"]


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


def prompt_warnings(bundle: Bundle, request: GenerateRequest) -> tuple[str, ...]:
    """Return warnings about the length and the words of a request's prompts.

    Raises RequestError as `open_tokenizer` does.
    """
    given = {"--prompt": request.prompt, "--negative-prompt": request.negative_prompt}
    if not any(given.values()):
        return ()
    tokenizer = open_tokenizer(bundle)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    encode = partial(tokenizer.encode, add_special_tokens=False)
    vocabulary = tokenizer.get_vocab_size(with_added_tokens=False)
    room = bundle.manifest.context_shape[0] - tokenizer.num_special_tokens_to_add(False)
    warnings: list[str] = []
    for flag, prompt in given.items():
        if prompt:
            read = parse_prompt(prompt, flag)
            passages = [passage for part in read.parts for passage in part.passages(0, 1)]
            longest = max(sum(len(encode(text).ids) for text, _ in passage) for passage in passages)
            if longest > room:
                warnings.append(
                    f"{flag} has {longest} tokens, more than the {room} that the text encoder takes at a time. It is "
                    "read in several chunks, and a base that was trained on single chunks may not follow such prompts"
                )
            text = " ".join(read.texts())
            warnings += ReadPrompt(text, text, unknown_words(encode, text, vocabulary), room).warnings(flag)
    return tuple(warnings)
