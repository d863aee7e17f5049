"""The small decoder of a preset: written beside the UNets of the preset, with the refiner of the bundle behind it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engine.bundle.folder import Bundle
from engine.errors import RequestError
from engine.files import sha256_of
from exporter.changes import Stored, stored_weights
from exporter.graphs import export_decoder
from exporter.jpeg import BLOCK
from exporter.manifest_file import DECODER, DECODER_WEIGHTS, OF_PRESET, refiner_facts
from exporter.refiner import REFINER_FILE, Refiner, read_refiner
from exporter.small_decoder import SmallDecoder
from exporter.weights import write_graph

__all__ = ["stored_refiner", "write_decoder"]

PREFIX = "refiner."
"""Beginning of the names of the refiner's tensors in the graph of a decoder."""
STEPS = "jpeg.steps"


def write_decoder(
    bundle: Bundle,
    preset: str,
    small: SmallDecoder,
    merged_folders: Sequence[Path],
    manifest: dict[str, Any],
    folder: Path,
) -> list[str]:
    """Write a small decoder and the refiner of merged folders as the decoder of a preset, and state the files.

    Args:
        bundle: The bundle of the classes. Its files must be verified.
        preset: Name of the preset.
        small: The small decoder, which has the channels and the factor of the bundle.
        merged_folders: The merged folders of the preset, each with the refiner of the bundle.
        manifest: The bundle's manifest, whose `files` get the new ones.
        folder: Folder for the graph and its weights.

    Returns the value of the preset's field `decoder`. Raises RequestError for a folder with another refiner.
    """
    names = f"{OF_PRESET}{preset}.{DECODER}", f"{OF_PRESET}{preset}.{DECODER_WEIGHTS}"
    class_name = DECODER.removesuffix(".onnx")
    if class_name in bundle.manifest.classes:
        raise RequestError(
            f"The small decoder of the preset {preset}",
            found=f"a class {class_name}, whose UNet has the file name {names[0]}",
            expected=f"a bundle without a class of the name {class_name}",
            fix="leave out --decoder, or give the class another name",
        )
    refiners = [_refiner_of(bundle, path, manifest) for path in merged_folders]
    graph = export_decoder(small, bundle.manifest.latent_shape[1], refiners[0])
    for name in write_graph(graph, folder, *names):
        path = folder / name
        manifest["files"][name] = {"sha256": sha256_of(path), "bytes": path.stat().st_size}
    return [*names]


def stored_refiner(bundle: Bundle) -> dict[str, Stored]:
    """Return the refiner's tensors in the graph of a bundle's decoder, by their names in the file of the refiner."""
    stored = stored_weights(bundle.path(bundle.manifest.decoder[0]))
    found = {name.removeprefix(PREFIX): weight for name, weight in stored.items() if name.startswith(PREFIX)}
    # Constant folding renames the steps of JPEG. No other tensor has their shape.
    steps = next((weight for weight in stored.values() if weight.shape == [3, BLOCK, BLOCK]), None)
    return found if steps is None else {**found, STEPS: steps}


def _refiner_of(bundle: Bundle, folder: Path, manifest: dict[str, Any]) -> Refiner | None:
    """Return the refiner of a merged folder. Raises RequestError unless it is that of the bundle."""
    path = folder / REFINER_FILE
    refiner = read_refiner(path) if path.exists() else None

    def fail(what: str, found: object, expected: object) -> RequestError:
        return RequestError(
            f"The refiner of the merged folder {folder} for the small decoder, {what}",
            found=str(found),
            expected=f"{expected}, as in the decoder of the bundle {bundle.manifest.name}",
            fix="merge again from the base of the bundle, with its refiner",
        )

    facts = refiner_facts(refiner)
    for field in ("decoder_noise", "decoder_jpeg"):
        if facts.get(field) != manifest.get(field):
            raise fail(field, facts.get(field, "none"), manifest.get(field, "none"))
    if refiner is not None:
        stored = stored_refiner(bundle)
        for name, tensor in refiner.state_dict().items():
            known = stored.get(name)
            if known is not None and not np.array_equal(known.values().astype(np.float16), tensor.half().numpy()):
                raise fail(name, "other values", "equal values in float16")
    return refiner
