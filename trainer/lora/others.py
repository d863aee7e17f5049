"""Files that are no LoRA for this kind of base, by the names of their tensors."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

__all__ = ["LORA", "family_of", "known_ending", "other_kind"]

LORA = re.compile(r"lora_|\.lora\.|_lora\.|\.lora_linear_layer\.|\.hada_|\.lokr_")
"""What keys of LoRA, LoHa and LoKr contain."""
OTHER_KINDS = (
    (r"^model\.diffusion_model\.|^cond_stage_model\.", "a Stable Diffusion checkpoint", "give the file as --base"),
    (r"^control_model\.|^controlnet_|^lora_controlnet|^input_hint_block\.", "a ControlNet", "leave the file out"),
    (r"^first_stage_model\.|^(en|de)coder\.(conv_in|mid|down|up)", "an autoencoder (VAE)", "leave the file out"),
    (r"^(emb_params|string_to_param|<.*>)$", "an embedding", "give the file with --embedding"),
    (r"^clip_[gl]$", "an embedding of Stable Diffusion XL", "leave the file out"),
    (r"^(ip_adapter|image_proj)\.", "an IP-Adapter", "leave the file out"),
    (r"^\d+_[kv]\.|^stacks\.", "a hypernetwork without its header", "get the file again from its source"),
)
"""Keys of files of other kinds, the kind, and what to do."""
FAMILIES = (
    (r"^lora_te2_|^text_encoder_2\.|^lora_unet_(label_emb|add_embedding)", "Stable Diffusion XL"),
    (r"^(lora_unet_|unet\.)?.*transformer_blocks[._][1-9][._]", "Stable Diffusion XL"),
    (r"^lora_te3_|joint_blocks", "Stable Diffusion 3"),
    (r"double_blocks|single_blocks|single_transformer_blocks", "Flux"),
    (r"^lora_prior_|^prior\.", "Stable Cascade"),
    (r"^(transformer|diffusion_model|lora_transformer_)", "another architecture (a diffusion transformer)"),
    (r"temporal_transformer|motion_modules", "AnimateDiff"),
)
BASE_VERSIONS = {"sdxl": "Stable Diffusion XL", "sd_v2": "Stable Diffusion 2", "sd3": "Stable Diffusion 3"}
"""Beginnings of `ss_base_model_version` in the metadata of kohya's scripts."""
ENDINGS = (
    (r"\.diff(_b)?$", "whole changes of weights (diff), which are no LoRA"),
    (r"\.[wb]_norm$", "changes of normalisation layers"),
    (r"\.oft_|\.boft_", "OFT"),
    (r"\.[ab][12]\.weight$", "GLoRA"),
    (r"\.on_input$", "IA3"),
    (r"\.lora_embedding_[AB]", "a LoRA of an embedding table"),
    (r"\.lora_B(\.[\w-]+)?\.bias$|\.bias$", "biases"),
    (r"^bundle_emb\.", "embeddings inside a LoRA"),
    (r"\.vera_|\.lora_XS", "a relative of LoRA that is not supported"),
)


def other_kind(keys: Iterable[str]) -> tuple[str, str, str] | None:
    """Return what a file is instead of a LoRA, what is expected, and what to do. None if it has keys of a LoRA."""
    names = list(keys)
    expected = "LoRA, LoHa or LoKr for the UNet or the text encoder"
    for pattern, kind, fix in OTHER_KINDS:
        if any(re.search(pattern, name) for name in names):
            return kind, expected, fix
    if any(LORA.search(name) or (known_ending(name) and not name.endswith(".bias")) for name in names):
        return None
    found = f"none of {len(names)} keys is of a LoRA, such as {names[0]}" if names else "no tensor in the file"
    return found, expected, "check the path; `python -m trainer inspect` shows what a file contains"


def family_of(keys: Iterable[str], metadata: Mapping[str, str]) -> str | None:
    """Return the models that a LoRA is for, if they are others than Stable Diffusion 1.x."""
    version = metadata.get("ss_base_model_version", "")
    for beginning, family in BASE_VERSIONS.items():
        if version.startswith(beginning):
            return family
    return next((family for pattern, family in FAMILIES for key in keys if re.search(pattern, key)), None)


def known_ending(key: str) -> str | None:
    """Return what a key with an ending that is not supported stands for."""
    return next((words for pattern, words in ENDINGS if re.search(pattern, key)), None)
