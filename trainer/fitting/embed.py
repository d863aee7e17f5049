"""`embed`: textual inversion (Gal et al. 2022, arXiv:2208.01618): new words for a class, the base frozen."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from engine.errors import RequestError
from trainer.base.base import Base, digest_of, encode_prompts
from trainer.base.preview import draw_preview
from trainer.fitting.material import FitOptions, Material, read_training_set
from trainer.hypernetwork.embeddings import Embedding, add_words, write_embedding, write_webui_embedding
from trainer.training.devices import Compute
from trainer.training.loop import LoopSettings, Training, digest_parts
from trainer.training.outputs import Outputs
from trainer.training.progress import TrainingLog
from trainer.training.record import ClassRecord, write_record

__all__ = ["embed"]


class Vectors(nn.Module):
    """The (V, D) vectors, put in the place of their words' rows while the text encoder reads them."""

    def __init__(self, start: torch.Tensor) -> None:
        super().__init__()
        self.vectors = nn.Parameter(start.clone())

    def attach(self, table: nn.Module, ids: list[int]) -> Any:
        """Hook the text encoder's embedding table; returns the hook."""

        def replace(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
            for row, token in zip(self.vectors, ids, strict=True):
                output = torch.where((inputs[0] == token)[..., None], row.to(output.dtype), output)
            return output

        return table.register_forward_hook(replace)


def embed(
    base: Base,
    data_folder: Path,
    out: Path,
    *,
    record: ClassRecord,
    settings: LoopSettings,
    vectors: int = 1,
    initial_text: str = "*",
    options: FitOptions | None = None,
    compute: Compute | None = None,
    log: TrainingLog | None = None,
    resume: bool = False,
    overwrite: bool = False,
    webui: bool = False,
    stop: threading.Event | None = None,
    progress: Callable[..., None] = lambda *values: None,
) -> dict[str, Any]:
    """Train `vectors` new tokens for a class; write `out/<class>.safetensors` and `out/<class>.json`.

    They begin as the tokens of `initial_text`, repeated. The rest is as in `fit`; templates say [name] where the new
    words go. Returns the record. Raises RequestError.
    """
    options, compute, log = options or FitOptions(), compute or Compute(), log or TrainingLog()
    if vectors < 1 or vectors > base.tokenizer.model_max_length - 2:
        most = base.tokenizer.model_max_length - 2
        raise RequestError("--vectors", found=str(vectors), expected=f"1 to {most}", fix="change it")
    data = read_training_set(base, data_folder)
    outputs = Outputs(out, record.class_name)
    outputs.check(resume=resume, overwrite=overwrite)
    base_sha256 = digest_of(base.unet)
    parts_sha256 = [digest_of(base.vae), digest_of(base.text_encoder)]
    table = base.text_encoder.get_input_embeddings()
    begin = base.tokenizer(initial_text, add_special_tokens=False).input_ids or [base.tokenizer.eos_token_id]
    start = table.weight.detach()[[begin[i % len(begin)] for i in range(vectors)]]
    embedding = Embedding(record.class_name, start)
    add_words(base, embedding)
    ids = base.tokenizer.convert_tokens_to_ids(list(embedding.words))
    model = Vectors(start)
    material = Material(base, data, embedding.prompt, ("[name]",), options, settings, compute)
    unet = compute.ready(base.unet)
    base.text_encoder.requires_grad_(False).to(compute.device)
    model.to(compute.device)
    hook = model.attach(base.text_encoder.get_input_embeddings(), ids)

    def loss_of(number: int, generator: torch.Generator) -> torch.Tensor:
        rows, prompts = material.batch(number, generator)
        context = encode_prompts(base, prompts)
        with compute.autocast():
            return material.loss(unet, rows, context, generator)

    subject = digest_parts(
        *material.subject,
        asdict(record),
        asdict(options),
        base_sha256,
        *parts_sha256,
        compute.precision,
        start,
    )
    if overwrite:
        outputs.remove()
    try:
        with log.opened(out, record.class_name):
            training = Training(record.class_name, model, loss_of, settings, outputs.checkpoints, subject=subject)

            def write(path: Path, step: int) -> None:
                found = Embedding(record.class_name, model.vectors.detach(), step, record)
                write_embedding(path, found)
                if webui:
                    write_webui_embedding(path.with_suffix(".pt"), found)

            def after_step(done: int) -> None:
                log.add(done, training.losses[-1], settings.learning_rate.at(done - 1, settings.steps))
                if log.saves(done):
                    with training.averaged():
                        write(out / "steps" / f"{record.class_name}-{done:06d}.safetensors", done)
                if log.previews(done):
                    with training.averaged(), compute.autocast(), torch.no_grad():
                        words = material.captions.draw(0, torch.Generator().manual_seed(0))
                        context = encode_prompts(base, [words, ""]).float()
                        draw_preview(base, context, out / "previews" / f"{record.class_name}-{done:06d}.png")

            run = training.run(progress=progress, after_step=after_step, stop=stop)
            write(outputs.weights, run["steps_done"])
    finally:
        hook.remove()
    facts = {
        "record": asdict(record),
        "vectors": vectors,
        "initial_text": initial_text,
        "words": embedding.prompt,
        "prepared_pictures": len(data.pictures),
        "options": asdict(options),
        "compute": compute.as_json(),
        "base_sha256": base_sha256,
        "training": {**run, **log.costs(run, len(material), settings)},
    }
    write_record(out / f"{record.class_name}.json", **facts)
    return facts
