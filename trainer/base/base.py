"""Latent-diffusion bases in the diffusers folder layout: a new small base, or a base on disk."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors import SafetensorError
from tokenizers import pre_tokenizers
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from engine.errors import RequestError, first_line
from engine.sampling.models import ModelConfigs, expect_supported, not_whole
from engine.sampling.prompt_chunks import Chunk, mean_factor
from engine.sampling.prompts import ReadPrompt, caption_chunk, read_prompt_with
from engine.sampling.schedules import NoiseSchedule
from trainer.base.card import STABLE_DIFFUSION, BaseCard, read_card, unknown_base, write_card
from trainer.base.finite import not_finite
from trainer.base.presets import BasePreset
from trainer.base.refiner import REFINER_FILE, Refiner, expect_fitting, refiner_in, write_refiner
from trainer.base.shipped import SHIPPED, open_shipped, shipped_folder
from trainer.base.stable_diffusion import SCHEDULER, read_single_file

__all__ = ["Base", "digest_of", "encode_prompts", "new_tokenizer", "open_base"]


PARTS = {"vae": AutoencoderKL, "unet": UNet2DConditionModel, "text_encoder": CLIPTextModel}
CONFIGS = {"scheduler": "scheduler_config.json", **dict.fromkeys(PARTS, "config.json")}
HUB_TOKENIZER = "openai/clip-vit-large-patch14"


@dataclass
class Base:
    """The parts of a base. Latents: (B, C, h, w) float32, multiplied by vae.config.scaling_factor."""

    vae: AutoencoderKL
    unet: UNet2DConditionModel
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler: DDIMScheduler
    refiner: Refiner | None = None
    """The network behind the VAE's decoder that draws grain, if the base has one."""
    own_card: BaseCard | None = None
    """The content of its `base.json`, if the base has one."""

    @property
    def card(self) -> BaseCard:
        """What the base tells its users. A base without `base.json` is known by its structure."""
        if self.own_card is not None:
            return self.own_card
        return STABLE_DIFFUSION if self.is_stable_diffusion_1 else unknown_base()

    @property
    def is_stable_diffusion_1(self) -> bool:
        """Whether the UNet has the context width and the channels of Stable Diffusion 1.x."""
        config = self.unet.config
        return (config.cross_attention_dim, tuple(config.block_out_channels)) == (768, (320, 640, 1280, 1280))

    @property
    def noise(self) -> NoiseSchedule:
        """The noise levels that the UNet was trained on."""
        config = self.scheduler.config
        return NoiseSchedule(config.beta_start, config.beta_end, config.num_train_timesteps)

    @property
    def picture_side(self) -> int:
        """Side of a picture in pixels."""
        return int(self.unet.config.sample_size * self.pixels_per_latent)

    @property
    def pixels_per_latent(self) -> int:
        """Side of a latent pixel in picture pixels."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @classmethod
    def new(cls, preset: BasePreset, words: Iterable[str] | CLIPTokenizer, size: int) -> Base:
        """Return a base with random weights for pictures of `size` x `size` pixels.

        words: captions whose words become the vocabulary, or a tokenizer.
        """
        down = len(preset.vae_channels)
        levels = len(preset.unet_channels)
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * down,
            up_block_types=("UpDecoderBlock2D",) * down,
            block_out_channels=preset.vae_channels,
            layers_per_block=1,
            latent_channels=preset.latent_channels,
            norm_num_groups=8,
            sample_size=size,
            scaling_factor=1.0,
            # Without attention, the autoencoder is convolutional and can be trained on crops.
            mid_block_add_attention=False,
        )
        unet = UNet2DConditionModel(
            sample_size=size // 2 ** (down - 1),
            in_channels=preset.latent_channels,
            out_channels=preset.latent_channels,
            layers_per_block=1,
            block_out_channels=preset.unet_channels,
            down_block_types=("CrossAttnDownBlock2D",) * levels,
            up_block_types=("CrossAttnUpBlock2D",) * levels,
            cross_attention_dim=preset.text_width,
            attention_head_dim=preset.attention_heads,
            norm_num_groups=preset.norm_groups,
        )
        tokenizer = words if isinstance(words, CLIPTokenizer) else new_tokenizer(words, preset.prompt_tokens)
        config = CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=preset.text_width,
            intermediate_size=2 * preset.text_width,
            num_hidden_layers=preset.text_layers,
            num_attention_heads=2,
            max_position_embeddings=preset.prompt_tokens,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
        return cls(vae, unet, CLIPTextModel(config), tokenizer, DDIMScheduler(**SCHEDULER))

    def read_prompt(self, prompt: str) -> ReadPrompt:
        """Return how the text encoder reads a prompt: what there is room for, and the words that it does not know."""
        return read_prompt_with(self.tokenizer, prompt)

    def save(self, folder: Path) -> None:
        """Write a folder that StableDiffusionPipeline.from_pretrained can open. diffusers ignores the refiner."""
        StableDiffusionPipeline(
            vae=self.vae,
            unet=self.unet,
            text_encoder=self.text_encoder,
            tokenizer=self.tokenizer,
            scheduler=self.scheduler,
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        ).save_pretrained(folder)
        if self.refiner is not None:
            write_refiner(self.refiner, folder / REFINER_FILE)
        if self.card != unknown_base():
            write_card(self.card, folder)


def open_base(name: str | Path, tokenizer: Path | None = None) -> Base:
    """Return a base from safetensors files. Raises RequestError, also for a base that is not supported or not finite.

    Args:
        name: The name of a base that ships ("cells"), a diffusers folder, the single file of Stable Diffusion 1.5, or,
            with a network, the name of a model on the Hugging Face hub ("owner/model").
        tokenizer: A folder with CLIP's vocabulary, or a diffusers folder. Only a single file needs it.
    """
    if str(name) in SHIPPED:
        return replace(open_shipped(str(name), Base.new), own_card=read_card(shipped_folder(str(name))))
    path = Path(name)
    if path.suffix.lower() == ".safetensors" or path.is_file():
        vae, unet, text_encoder, scheduler = read_single_file(path)
        words = _open_tokenizer(path, tokenizer)
        known, rows = len(words), text_encoder.config.vocab_size
        if known != rows:
            raise RequestError(
                f"The tokenizer for {path}",
                found=f"{known} tokens",
                expected=f"{rows} tokens, as CLIP's tokenizer has",
                fix="use CLIP's tokenizer",
            )
        # A folder with only vocab.json and merges.txt does not state the length.
        words.model_max_length = text_encoder.config.max_position_embeddings
        base = Base(vae, unet, text_encoder, words, scheduler)
        _expect_finite(base, name)
        return base
    if not path.exists() and re.fullmatch(r"[\w.-]+/[\w.-]+", str(name)):
        path = _download(str(name))
    base = _open_folder(path)
    _expect_finite(base, name)
    return base


def _open_tokenizer(checkpoint: Path, folder: Path | None) -> CLIPTokenizer:
    """Return the tokenizer of a folder, or CLIP's from the hub. Raises RequestError."""
    if folder is not None and (folder / "tokenizer").is_dir():
        folder = folder / "tokenizer"
    try:
        if folder is None:
            return CLIPTokenizer.from_pretrained(HUB_TOKENIZER)
        if not (folder / "vocab.json").is_file() and not (folder / "tokenizer.json").is_file():
            raise OSError("neither vocab.json nor tokenizer.json in it")
        return CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        where = f"in {folder}" if folder else "on this machine, and the hub cannot be reached"
        raise RequestError(
            f"The tokenizer for {checkpoint}",
            found=f"no tokenizer {where} ({first_line(error)})",
            expected="CLIP's vocabulary, which a single file does not contain",
            fix=f"give --tokenizer: a folder with vocab.json and merges.txt of {HUB_TOKENIZER}, or a diffusers folder",
        ) from error


def _download(name: str) -> Path:
    """Return the folder of a model of the hub, from the cache or the network. Raises RequestError."""
    try:
        from huggingface_hub import snapshot_download

        wanted = ["*.json", "*.txt", "*/*.json", "*/*.txt", *(f"{part}/*.safetensors" for part in PARTS), REFINER_FILE]
        return Path(snapshot_download(name, allow_patterns=wanted, ignore_patterns=["*.fp16.*", "*non_ema*"]))
    except Exception as error:  # the library passes on errors of several other libraries
        raise RequestError(
            f"The base {name}",
            found=f"no such folder, and not available from the hub ({first_line(error)})",
            expected="a diffusers folder, a single safetensors file, or, with a network, a model of the hub",
            fix="check the path",
        ) from error


def _open_folder(folder: Path) -> Base:
    for name in ("model_index.json", "tokenizer", "scheduler", *PARTS):
        if not (folder / name).exists():
            raise RequestError(
                f"The base {folder}",
                found=f"no {name} in the folder",
                expected="a Stable Diffusion folder in the diffusers layout",
                fix="use a folder that `python -m trainer pretrain` or `save_pretrained` wrote",
            )
    try:
        # The small files first: a base that is not supported is refused before gigabytes are read.
        configs = {
            name: json.loads((folder / name / file).read_text(encoding="utf-8")) for name, file in CONFIGS.items()
        }
        expect_supported(f"The base {folder}", ModelConfigs(**configs))
        base = Base(
            **{name: _load(kind, folder / name) for name, kind in PARTS.items()},
            tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True),
            scheduler=DDIMScheduler.from_pretrained(folder / "scheduler", local_files_only=True),
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise RequestError(
            f"The base {folder}",
            found=f"a part that cannot be read ({error})",
            expected="complete parts with weights in safetensors files",
            fix="copy or make the base again",
        ) from error
    base.own_card = read_card(folder)
    base.refiner = refiner_in(folder)
    if base.refiner is not None:
        expect_fitting(base.refiner, base.vae, folder / REFINER_FILE)
    return base


def _load(kind: Any, folder: Path) -> Any:
    """Return a part in float32. Raises ValueError if its file lacks tensors or has too many."""
    found, info = kind.from_pretrained(
        folder, use_safetensors=True, torch_dtype=torch.float32, local_files_only=True, output_loading_info=True
    )
    if wrong := not_whole(folder.name, info):
        raise ValueError(wrong)
    return found


def _expect_finite(base: Base, name: str | Path) -> None:
    """Raise RequestError that names the first tensor with NaN or infinity in it."""
    for part in ("vae", "unet", "text_encoder", "refiner"):
        module = getattr(base, part)
        if module is not None and (key := not_finite(module)):
            raise RequestError(
                f"The base {name}, {part}",
                found=f"values that are not finite in {key}",
                expected="finite weights: training on these gives only NaN",
                fix="copy the base again, or use another base",
            )


def digest_of(module: nn.Module) -> str:
    """Return the SHA-256 of the tensors of a module, in the order of their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        # hashlib reads the array where it is: a copy of gigabytes costs as much as the hash.
        digest.update(tensor.detach().contiguous().cpu().numpy())
    return digest.hexdigest()


def encode_prompts(base: Base, prompts: list[str]) -> torch.Tensor:
    """Return token embeddings (len(prompts), T, D) float32 of the last layer of the text encoder.

    A prompt that is too long is cut after its last whole word; see Base.read_prompt. Weights such as (x:1.2) multiply
    the embeddings of their tokens. Raises RequestError for other syntax of prompts.
    """
    length = base.tokenizer.model_max_length
    chunks = [caption_chunk(base.tokenizer, prompt) for prompt in prompts]
    if any(chunks):
        found = [
            encode_prompts(base, [text]) if chunk is None else _encode_chunk(base, chunk)
            for text, chunk in zip(prompts, chunks, strict=True)
        ]
        return torch.cat(found)
    rows = base.tokenizer(prompts, padding="max_length", max_length=length, verbose=False).input_ids
    if any(len(row) > length for row in rows):
        used = [base.read_prompt(prompt).used for prompt in prompts]
        rows = base.tokenizer(used, padding="max_length", max_length=length).input_ids
    return base.text_encoder(torch.tensor(rows, device=base.text_encoder.device))[0]


def _encode_chunk(base: Base, chunk: Chunk) -> torch.Tensor:
    """Return the weighted embeddings (1, T, D) of a chunk; see engine.sampling.prompt_chunks."""
    device = base.text_encoder.device
    states = base.text_encoder(torch.tensor([chunk.tokens], device=device))[0]
    changed = states * torch.tensor(chunk.weights, device=device)[None, :, None]
    # The factor is a number: vectors of new words are trained as if it did not depend on them.
    before, after = ((float(x.mean()), float(x.std())) for x in (states.detach(), changed.detach()))
    return changed * mean_factor(before, after)


def new_tokenizer(captions: Iterable[str], length: int) -> CLIPTokenizer:
    """Return CLIP's byte-level BPE with only the merges that make each word of the captions one token."""
    words = (word for caption in captions for word, _ in pre_tokenizers.Whitespace().pre_tokenize_str(caption.lower()))
    merges = _merges_of(words)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*letters, *(letter + "</w>" for letter in letters), *(left + right for left, right in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=length)


def _merges_of(words: Iterable[str]) -> list[tuple[str, str]]:
    """Return merges of the most frequent pair (Sennrich et al. 2016, arXiv:1508.07909) until each word is one token.

    Among equally frequent pairs, the first in the alphabet is merged. The library's own training chooses by chance.
    """
    spelt = [[*word[:-1], f"{word[-1]}</w>"] for word in sorted(set(words))]
    merges = []
    while pairs := Counter(pair for word in spelt for pair in pairwise(word)):
        left, right = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append((left, right))
        for word in spelt:
            for place in range(len(word) - 1):
                # A merge shortens the word, so the index is checked each time.
                if word[place : place + 2] == [left, right]:
                    word[place : place + 2] = [left + right]
    return merges
