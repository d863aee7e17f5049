"""What a merged checkpoint states about how it was made, in the fields that the WebUI writes. No path is written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.files import sha256_of
from trainer.checkpoints.settings import ADD_DIFFERENCE, NO_INTERPOLATION, WEIGHTED_SUM, MergeSettings
from trainer.checkpoints.tensor_file import TensorFile

__all__ = ["Source", "metadata_of", "source_of"]

TITLES = {WEIGHTED_SUM: "Weighted sum", ADD_DIFFERENCE: "Add difference", NO_INTERPOLATION: "No interpolation"}
"""The WebUI's names of the methods."""
RECIPE, MODELS = "sd_merge_recipe", "sd_merge_models"
KEPT = ("architecture", "implementation", "prediction_type", "resolution", "sai_model_spec")
"""Fields of A's model specification (modelspec) that stay true. Others, such as the author, concern A alone."""
LEGACY_PLACE, LEGACY_BYTES, LEGACY_DIGITS = 0x100000, 0x10000, 8
"""The WebUI's old hash of a model covers only a part of the file."""


@dataclass(frozen=True)
class Source:
    """A checkpoint of a merge, as the result names it."""

    name: str
    sha256: str
    legacy_hash: str
    metadata: dict[str, str]


def source_of(file: TensorFile) -> Source:
    """Return the name and the hashes of a file, which is read once from its start to its end."""
    return Source(file.path.name, sha256_of(file.path), _legacy_hash(file.path), file.metadata)


def _legacy_hash(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(LEGACY_PLACE)
        return hashlib.sha256(file.read(LEGACY_BYTES)).hexdigest()[:LEGACY_DIGITS]


def metadata_of(sources: Sequence[Source], settings: MergeSettings, wider: str | None) -> dict[str, str]:
    """Return the metadata of a merged checkpoint.

    Args:
        sources: A, B and C, as far as they are merged.
        settings: The settings of the merge.
        wider: inpainting or instruct-pix2pix, if the result has further input channels.
    """
    hashes: list[str | None] = [source.sha256 for source in sources]
    hashes += [None] * (3 - len(hashes))
    recipe: dict[str, Any] = {
        "type": "cytosynth",
        "primary_model_hash": hashes[0],
        "secondary_model_hash": hashes[1],
        "tertiary_model_hash": hashes[2],
        "interp_method": TITLES[settings.method],
        "multiplier": settings.multiplier,
        "save_as_half": settings.half,
        "custom_name": settings.out.stem,
        "config_source": None,
        "bake_in_vae": settings.vae.name if settings.vae else "None",
        "discard_weights": settings.discard.pattern if settings.discard else "",
        "is_inpainting": wider == "inpainting",
        "is_instruct_pix2pix": wider == "instruct-pix2pix",
    }
    if settings.blocks is not None:
        recipe["block_multipliers"] = dict(settings.blocks.of)
    models: dict[str, Any] = {}
    for source in sources:
        models |= _read(source.metadata.get(MODELS)) or {}
        models[source.sha256] = {
            "name": source.name,
            "legacy_hash": source.legacy_hash,
            RECIPE: _read(source.metadata.get(RECIPE)),
        }
    specification = {f"modelspec.{name}": sources[0].metadata.get(f"modelspec.{name}") for name in KEPT}
    kept = {name: value for name, value in specification.items() if value is not None}
    # A header holds only texts. The WebUI crashes if it copies what is nested.
    return {**kept, "format": "pt", RECIPE: json.dumps(recipe), MODELS: json.dumps(models)}


def _read(text: str | None) -> dict[str, Any] | None:
    """Return an object in JSON, or None for anything else."""
    try:
        found = json.loads(text or "")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
