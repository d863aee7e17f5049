"""Load the folders that `python -m trainer merge` writes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors import SafetensorError
from tokenizers import Tokenizer
from transformers import CLIPTextModel, CLIPTokenizer

from engine.errors import RequestError
from engine.names import CLASS_NAME_RULE, is_class_name
from engine.sampling.models import ModelConfigs, expect_supported, not_whole
from engine.sampling.prompt_chunks import weighted
from engine.sampling.prompts import caption_chunk, read_prompt_with
from exporter.refiner import REFINER_FILE, Refiner, read_refiner
from exporter.residuals import RESIDUALS_FILE, attach_residuals

__all__ = ["MergedModel", "load_merged", "read_record"]

SIGNAL_LEAK_FILE = "signal_leak.safetensors"
CLASS_FIELDS = ("class_name", "prompt", "origin", "pictures", "licence", "attribution")


@dataclass
class MergedModel:
    """The models of a merged folder in float32, and the record of its class."""

    folder: Path
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler: dict[str, Any]
    record: dict[str, Any]
    refiner: Refiner | None = None
    """The network behind the decoder that draws grain, if the folder has one."""

    @cached_property
    def unet(self) -> UNet2DConditionModel:
        """The UNet, with the modules that a merge left beside it. Raises RequestError.

        It is read when it is first asked for, because it is most of the folder and not a part of the base's hash.
        """
        with _parts_of(self.folder):
            unet = _load(UNet2DConditionModel, self.folder / "unet")
        if (self.folder / RESIDUALS_FILE).exists():
            attach_residuals(unet, self.folder / RESIDUALS_FILE)
        return unet

    @property
    def signal_leak(self) -> Path | None:
        """The file with the class's signal leak, or None if it was not measured."""
        path = self.folder / SIGNAL_LEAK_FILE
        return path if path.is_file() else None

    def base_sha256(self) -> str:
        """Return a hash of everything that the classes of a bundle share, except the UNet: autoencoder, text encoder,
        refiner, tokenizer and schedule."""
        digest = hashlib.sha256()
        for module in filter(None, (self.vae, self.text_encoder, self.refiner)):
            for name, tensor in sorted(module.state_dict().items()):
                digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
        digest.update(f"{self.vae.config.scaling_factor:.9g}".encode())
        schedule = {name: value for name, value in self.scheduler.items() if not name.startswith("_")}
        digest.update(self.tokenizer_json().encode() + json.dumps(schedule, sort_keys=True).encode())
        return digest.hexdigest()

    @torch.no_grad()
    def embed_prompts(self, prompts: list[str]) -> torch.Tensor:
        """Return prompt embeddings (len(prompts), T, D) float32. Weights such as (x:1.2) count as in training."""
        length = self.tokenizer.model_max_length
        chunks = [caption_chunk(self.tokenizer, prompt) for prompt in prompts]
        used = [self.used_of(prompt) for prompt in prompts]
        # A caption with brackets may be longer as text than as the tokens that count, which chunks hold.
        rows = self.tokenizer(used, padding="max_length", max_length=length, truncation=True).input_ids
        tokens = [row if chunk is None else chunk.tokens for row, chunk in zip(rows, chunks, strict=True)]
        states = self.text_encoder(torch.tensor(tokens))[0].float()
        for place, chunk in enumerate(chunks):
            if chunk is not None:
                states[place] = torch.from_numpy(weighted(states[place].numpy(), chunk.weights, keep_mean=True))
        return states

    def used_of(self, prompt: str) -> str:
        """Return the part of a prompt for which the text encoder has room, up to its last whole word."""
        return read_prompt_with(self.tokenizer, prompt).used

    def tokenizer_json(self) -> str:
        """Return the tokenizer as JSON for the library `tokenizers`. It pads and truncates every prompt to the model's
        length."""
        tokenizer = Tokenizer.from_str(self.tokenizer.backend_tokenizer.to_str())
        length = self.tokenizer.model_max_length
        tokenizer.enable_truncation(length)
        tokenizer.enable_padding(
            length=length, pad_id=self.tokenizer.pad_token_id, pad_token=str(self.tokenizer.pad_token)
        )
        return str(tokenizer.to_str())


def load_merged(folder: Path) -> MergedModel:
    """Load a merged folder, except its UNet. Raises RequestError if a part is missing or cannot be exported."""
    for name in ("unet", "vae", "text_encoder", "tokenizer", "scheduler", "class.json"):
        if not (folder / name).exists():
            raise RequestError(
                f"The merged folder {folder}",
                found=f"no {name}",
                expected="a folder in the diffusers layout with class.json",
                fix="make the folder with `python -m trainer merge`",
            )
    record = read_record(folder)
    with _parts_of(folder):
        unet_config = UNet2DConditionModel.load_config(folder / "unet", local_files_only=True)
        model = MergedModel(
            folder,
            _load(AutoencoderKL, folder / "vae"),
            _load(CLIPTextModel, folder / "text_encoder"),
            CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True),
            dict(DDIMScheduler.load_config(folder / "scheduler", local_files_only=True)),
            record,
            read_refiner(folder / REFINER_FILE) if (folder / REFINER_FILE).exists() else None,
        )
    # The manifest states what is used.
    record["prompt"] = model.used_of(str(record["prompt"]))
    configs = ModelConfigs(model.scheduler, unet_config, model.vae.config, model.text_encoder.config.to_dict())
    expect_supported(f"The merged folder {folder}", configs)
    if model.refiner is not None:
        _expect_fitting_refiner(model.refiner, model)
    return model


def _expect_fitting_refiner(refiner: Refiner, model: MergedModel) -> None:
    config = model.vae.config
    for what, found, expected in (
        ("factor", refiner.sizes.factor, 2 ** (len(config.block_out_channels) - 1)),
        ("latent_channels", refiner.sizes.latent_channels, config.latent_channels),
    ):
        if found != expected:
            raise RequestError(
                f"The merged folder {model.folder}, the refiner's {what}",
                found=str(found),
                expected=str(expected),
                fix="make the folder again with `python -m trainer merge`",
            )


def read_record(folder: Path) -> dict[str, Any]:
    """Return the class record of a merged folder. Raises RequestError."""
    try:
        record: dict[str, Any] = json.loads((folder / "class.json").read_text())
        missing = [field for field in CLASS_FIELDS if field not in record]
        for one in record.get("adapters", ()):
            if set(one) != {"kind", "name", "multiplier"}:
                raise ValueError(f"the adapter {one}")
        if missing or not is_class_name(str(record["class_name"])):
            raise ValueError(f"no {', '.join(missing)}" if missing else f"the class name {record['class_name']!r}")
    except (OSError, ValueError, TypeError) as error:
        raise RequestError(
            f"The class record {folder / 'class.json'}",
            found=str(error),
            expected=f"the fields {', '.join(CLASS_FIELDS)}; a class name is {CLASS_NAME_RULE}",
            fix="merge the hypernetwork again",
        ) from error
    return record


def _load(kind: Any, folder: Path) -> Any:
    """Return a part. Raises ValueError if its file lacks tensors or has too many."""
    found, info = kind.from_pretrained(folder, use_safetensors=True, local_files_only=True, output_loading_info=True)
    if wrong := not_whole(folder.name, info):
        raise ValueError(wrong)
    return found.eval()


@contextmanager
def _parts_of(folder: Path) -> Iterator[None]:
    """Turn an error of a library that reads a part of the folder into a RequestError."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise RequestError(
            f"The merged folder {folder}",
            found=f"a part that cannot be read ({error})",
            expected="complete parts with weights as safetensors",
            fix="make the folder again with `python -m trainer merge`",
        ) from error
