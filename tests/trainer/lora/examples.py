"""A small base of Stable Diffusion's structure, and LoRA files of every spelling for it."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors.torch import save_file
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from trainer.base.base import Base, new_tokenizer
from trainer.base.stable_diffusion import CLIP_TEXT, SCHEDULER, UNET, VAE

TOKENS = 8


def small_base():
    """Return a base whose blocks have the kinds and numbers of Stable Diffusion 1.5, with few channels."""
    torch.manual_seed(0)
    tokenizer = new_tokenizer(["cyt mast"], TOKENS)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    tokens = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    clip = {**CLIP_TEXT, **sizes, **tokens, "vocab_size": len(tokenizer), "max_position_embeddings": TOKENS}
    channels = {"block_out_channels": (8, 16, 16, 16), "attention_head_dim": 2, "norm_num_groups": 4}
    unet = UNet2DConditionModel(**{**UNET, **channels, "cross_attention_dim": 16, "sample_size": 8})
    vae = AutoencoderKL(**{**VAE, "block_out_channels": (8, 8, 8, 8), "norm_num_groups": 4, "sample_size": 64})
    text = CLIPTextModel(CLIPTextConfig(**clip))
    return Base(vae.eval(), unet.eval(), text.eval(), tokenizer, DDIMScheduler(**SCHEDULER))


def layers_of(model, only=("attn", "self_attn")):
    """Return the linear layers and convolutions whose names contain one of these words."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and any(word in name for word in only)
    }


def factors(module, rank=2, seed=0, scale=0.1):
    """Return random down and up of a module."""
    generator = torch.Generator().manual_seed(seed)
    weight = module.weight
    down = scale * torch.randn(rank, *weight.shape[1:], generator=generator)
    up = scale * torch.randn(len(weight), rank, *[1] * (weight.ndim - 2), generator=generator)
    return down, up


def lora_tensors(modules, key, rank=2, alpha=None, names=("lora_down.weight", "lora_up.weight")):
    """Return the tensors of a LoRA. key: from the module's name to the beginning of its keys."""
    tensors = {}
    for seed, (name, module) in enumerate(modules.items()):
        for ending, factor in zip(names, factors(module, rank, seed), strict=True):
            tensors[f"{key(name)}.{ending}"] = factor
        if alpha is not None:
            tensors[f"{key(name)}.alpha"] = torch.tensor(float(alpha))
    return tensors


def kohya(name):
    return f"lora_unet_{name.replace('.', '_')}"


def written(path, tensors, **metadata):
    save_file({name: tensor.clone().contiguous() for name, tensor in tensors.items()}, path, metadata or None)
    return path


def lora_file(path, base, *, rank=2, words=("attn",), text=True):
    """Write a LoRA of another program for the UNet of a base, and for its text encoder."""
    tensors = lora_tensors(layers_of(base.unet, words), kohya, rank=rank, alpha=2)
    if text:
        layers = layers_of(base.text_encoder)
        tensors |= lora_tensors(layers, lambda name: f"lora_te_text_model_{name.replace('.', '_')}", alpha=2)
    return written(path, tensors)
