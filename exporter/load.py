"""Opening what `python -m trainer merge` wrote."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from tokenizers import Tokenizer
from transformers import CLIPTextModel, CLIPTokenizer

from engine.errors import RequestError

__all__ = ["MergedModel", "load_merged"]

CLASS_FIELDS = ("class_name", "prompt", "origin", "pictures", "licence", "attribution")


@dataclass
class MergedModel:
    """A merged folder in memory, float32, and the class's record."""

    folder: Path
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler: dict[str, Any]
    record: dict[str, Any]

    @torch.no_grad()
    def embed_prompts(self, prompts: list[str]) -> torch.Tensor:
        """Prompt embeddings (len(prompts), T, D) float32."""
        length = self.tokenizer.model_max_length
        tokens = self.tokenizer(prompts, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        return self.text_encoder(tokens.input_ids)[0].float()

    def tokenizer_json(self) -> str:
        """The tokenizer for the library `tokenizers`, padding and truncating every prompt to the model's length."""
        tokenizer = Tokenizer.from_str(self.tokenizer.backend_tokenizer.to_str())
        length = self.tokenizer.model_max_length
        tokenizer.enable_truncation(length)
        tokenizer.enable_padding(
            length=length, pad_id=self.tokenizer.pad_token_id, pad_token=str(self.tokenizer.pad_token)
        )
        return str(tokenizer.to_str())


def load_merged(folder: Path) -> MergedModel:
    """Open a merged folder. Raises RequestError where a part is missing or of a kind that cannot be exported."""
    for name in ("unet", "vae", "text_encoder", "tokenizer", "scheduler", "class.json"):
        if not (folder / name).exists():
            raise RequestError(
                f"The merged folder {folder}",
                found=f"no {name} in it",
                expected="a diffusers folder with a class.json",
                mend="make it with `python -m trainer merge`",
            )
    record = json.loads((folder / "class.json").read_text())
    if missing := [field for field in CLASS_FIELDS if field not in record]:
        raise RequestError(
            f"The class record {folder / 'class.json'}",
            found=f"no {', '.join(missing)}",
            expected=f"the fields {', '.join(CLASS_FIELDS)}",
            mend="merge the hypernetwork again",
        )
    scheduler = dict(DDIMScheduler.load_config(folder / "scheduler", local_files_only=True))
    for field, expected in (("prediction_type", "epsilon"), ("beta_schedule", "scaled_linear")):
        if scheduler.get(field) != expected:
            raise RequestError(
                f"The scheduler of {folder}, {field}",
                found=str(scheduler.get(field)),
                expected=expected,
                mend="use an eps-prediction base with Stable Diffusion 1.5's kind of schedule",
            )
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", use_safetensors=True, local_files_only=True)
    vae = AutoencoderKL.from_pretrained(folder / "vae", use_safetensors=True, local_files_only=True)
    text_encoder = CLIPTextModel.from_pretrained(folder / "text_encoder", use_safetensors=True, local_files_only=True)
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    return MergedModel(folder, unet.eval(), vae.eval(), text_encoder.eval(), tokenizer, scheduler, record)
