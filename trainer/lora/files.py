"""LoRA files: of diffusers and PEFT, of kohya's scripts, of LyCORIS, and of this project.

Every key of a file must be understood. A file is refused by name otherwise, so that nothing in it is ignored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from engine.errors import RequestError, first_line
from trainer.base.base import Base
from trainer.base.torch_files import load_plain
from trainer.lora.changes import Change
from trainer.lora.names import PARTS, UNET_PREFIX, Place, modules_by_name, place_of
from trainer.lora.others import family_of, known_ending, other_kind
from trainer.training.record import ClassRecord
from trainer.training.weights_file import write_weights

__all__ = ["FORMAT", "LoraFile", "read_lora", "write_lora"]

FORMAT = "cytosynth lora 1"
SHOWN = 3
"""Largest number of names that an error lists."""
ENDINGS = [
    (re.compile(rf"{pattern}$"), name)
    for pattern, name in (
        (r"\.lora_down(\.[\w-]+)?\.weight", "lora_down"),
        (r"\.lora_up(\.[\w-]+)?\.weight", "lora_up"),
        (r"\.lora_mid\.weight", "lora_mid"),
        (r"\.lora_A(\.[\w-]+)?\.weight", "lora_down"),
        (r"\.lora_B(\.[\w-]+)?\.weight", "lora_up"),
        (r"(\.lora|_lora|\.lora_linear_layer)\.down\.weight", "lora_down"),
        (r"(\.lora|_lora|\.lora_linear_layer)\.up\.weight", "lora_up"),
        (r"\.lora_magnitude_vector(\.[\w-]+)?", "magnitude"),
        (r"\.dora_scale", "dora_scale"),
        (r"(_lora)?\.alpha", "alpha"),
        (r"\.hada_(w[12]_[ab]|t[12])", ""),
        (r"\.lokr_(w[12](_[ab])?|t2)", ""),
    )
]
"""Endings of keys, with our names of the tensors. An empty name is the ending itself."""
PEFT_METADATA, PEFT_CONFIG = "lora_adapter_metadata", "adapter_config.json"
SUFFIXES = (".safetensors",)


@dataclass(frozen=True)
class LoraFile:
    """A LoRA, LoHa or LoKr and the facts in its file. Files of other programs have no record."""

    changes: Mapping[Place, Change]
    name: str
    step: int = 0
    record: ClassRecord | None = None
    base_sha256: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The word of a prompt's tag, such as <lora:name:1>."""
        return "lora"

    @property
    def kinds(self) -> list[str]:
        """The kinds of changes in the file: LoRA, LoHa, LoKr, also with DoRA."""
        return sorted({change.kind for change in self.changes.values()})

    def modules(self, base: Base) -> Iterator[tuple[str, str, nn.Module, Change]]:
        """Yield the part of the base, the module's name, the module and its change. Raises RequestError.

        Every change must find a module of its shape.
        """
        known = modules_by_name(base)
        if unknown := [place.name for place in self.changes if place not in known]:
            raise RequestError(
                f"The LoRA {self.name}",
                found=f"{len(unknown)} modules that the base lacks: {_listed(unknown)}",
                expected="modules of the base's UNet and text encoder",
                fix="use the base that the LoRA was trained on",
            )
        taken: dict[int, Place] = {}
        for place, change in self.changes.items():
            name, module = known[place]
            if (other := taken.setdefault(id(module), place)) != place:
                raise RequestError(
                    f"The LoRA {self.name}",
                    found=f"two changes of the module {name}: {other.name} and {place.name}",
                    expected="one change per module",
                    fix="get the file again from its source",
                )
            try:
                change.expect_fitting(module)
            except ValueError as error:
                raise RequestError(
                    f"The LoRA {self.name}, module {place.name}",
                    found=str(error),
                    expected="the shapes of the base's weights",
                    fix="use the base that the LoRA was trained on",
                ) from error
            yield place.part, name, module, change

    def expect_fitting(self, base: Base) -> None:
        """Raise RequestError unless every change fits a module of the base."""
        for _ in self.modules(base):
            pass

    @contextmanager
    def attached(self, base: Base, multiplier: float = 1.0) -> Iterator[None]:
        """While the context is open, add the changes to the outputs of their modules."""
        hooks = [
            module.register_forward_hook(
                lambda module, inputs, output, change=change: output + multiplier * change.output(module, inputs[0])
            )
            for _, _, module, change in self.modules(base)
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    @torch.no_grad()
    def fold(self, base: Base, multiplier: float = 1.0) -> str:
        """Add the changes to the weights of the base. Return a sentence that counts them."""
        counts = dict.fromkeys(PARTS, 0)
        for part, _, module, change in list(self.modules(base)):
            weight = module.get_parameter("weight")
            # In place, because fresh memory for each product would cost more than the arithmetic.
            weight.copy_(change.of(weight).mul_(multiplier).add_(weight))
            counts[part] += 1
        places = " and ".join(f"{count} of the {PARTS[part]}" for part, count in counts.items() if count)
        return f"{self.name}: {', '.join(self.kinds)}; {places} changed"


def read_lora(path: Path) -> LoraFile:
    """Return the LoRA, LoHa or LoKr of a file. Raises RequestError that names what is wrong with the file."""
    tensors, metadata = _read(path)
    if words := other_kind(tensors):
        raise _refused(path, *words)
    if family := family_of(tensors, metadata):
        raise _refused(path, f"a LoRA for {family}", "a LoRA for Stable Diffusion 1.5 or for the base", "use its base")
    parts: dict[Place, dict[str, torch.Tensor]] = {}
    unknown = []
    for key, tensor in tensors.items():
        stem, name = _split(key)
        place = place_of(stem) if stem else None
        if place is None:
            unknown.append(key)
        elif name in parts.setdefault(place, {}):
            raise _refused(path, f"two tensors {name} of {place.name}", "one per module")
        else:
            parts[place][name] = tensor
    if unknown:
        what = next(filter(None, map(known_ending, unknown)), "keys of an unknown kind")
        raise _refused(
            path,
            f"{what}: {_listed(unknown)}",
            "LoRA, LoHa or LoKr of the UNet and the text encoder",
            "leave these out when training, or merge the file with the program that wrote it",
        )
    for key, tensor in tensors.items():
        if not torch.isfinite(tensor.float()).all():
            raise _refused(path, f"values that are not finite in {key}", "finite values")
    alphas = _alphas(path, metadata, any(key.startswith("base_model.model.") for key in tensors))
    changes = {}
    for place, found in parts.items():
        alpha = found.pop("alpha", None)
        try:
            if alpha is not None and alpha.numel() != 1:
                raise ValueError(f"alpha has the shape {tuple(alpha.shape)}")
            stated, root = alphas(place)
            changes[place] = Change(found, stated if alpha is None else float(alpha), root)
        except ValueError as error:
            raise _refused(path, f"module {place.name}: {error}", "whole factors that fit each other") from error
    try:
        record = ClassRecord(**json.loads(metadata["record"])) if "record" in metadata else None
        step = int(metadata.get("step") or metadata.get("ss_steps") or 0)
    except (ValueError, TypeError) as error:
        raise _refused(path, f"unreadable metadata ({first_line(error)})", "metadata as they were written") from error
    name = metadata.get("name", path.stem)
    return LoraFile(changes, name, step, record, metadata.get("base_sha256"), metadata)


def write_lora(path: Path, file: LoraFile) -> None:
    """Write a LoRA of the UNet with kohya's names, as the WebUI and other programs read it."""
    tensors: dict[str, torch.Tensor] = {}
    for place, change in file.changes.items():
        key = f"{UNET_PREFIX}{place.name}"
        for name, tensor in change.tensors.items():
            tensors[f"{key}.{name}.weight"] = tensor.float()
        tensors[f"{key}.alpha"] = torch.tensor(float(change.alpha or change.rank or 1))
    metadata = {**file.metadata, "format": FORMAT, "name": file.name, "step": str(file.step)}
    write_weights(path, tensors, metadata, file.record, file.base_sha256)


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Return the tensors of a file in their order, and its metadata. Raises RequestError."""
    if path.suffix.lower() in SUFFIXES:
        try:
            with safe_open(path, framework="pt") as opened:
                return {key: opened.get_tensor(key) for key in opened.keys()}, opened.metadata() or {}  # noqa: SIM118
        except (OSError, ValueError, SafetensorError) as error:
            found = f"unreadable ({first_line(error)})"
            raise _refused(path, found, "a complete safetensors file", "copy or download the file again") from error
    state = load_plain(path)
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise _refused(path, "no table of tensors", "tensors by name")
    return {str(key): value for key, value in state.items()}, {}


def _split(key: str) -> tuple[str, str]:
    """Return a key without its ending, and our name of the ending. Both are empty if no ending is known."""
    for pattern, name in ENDINGS:
        if found := pattern.search(key):
            return key[: found.start()], name or found.group()[1:]
    return "", ""


def _alphas(path: Path, metadata: Mapping[str, str], peft: bool) -> Any:
    """Return the function from a place to alpha and to whether the factor has the root of the rank.

    PEFT keeps alpha outside the tensors: diffusers in the metadata, PEFT itself in a file beside. Raises RequestError.
    """
    beside = path.with_name(PEFT_CONFIG)
    try:
        stated = json.loads(metadata[PEFT_METADATA]) if PEFT_METADATA in metadata else {}
        if peft:
            if not beside.is_file():
                fix = f"copy {PEFT_CONFIG} into the folder of the file"
                raise _refused(path, f"no {PEFT_CONFIG} beside it", "this file of PEFT, which states alpha", fix)
            stated = json.loads(beside.read_text(encoding="utf-8"))
        if not isinstance(stated, dict):
            raise ValueError("not a JSON object")
    except (OSError, ValueError) as error:
        raise _refused(path, f"unreadable settings of PEFT ({first_line(error)})", "JSON with lora_alpha") from error

    def alpha_at(place: Place) -> tuple[float | None, bool]:
        def of(name: str) -> Any:
            return stated.get(f"{place.part}.{name}", stated.get(name))

        alpha = of("lora_alpha")
        for pattern, own in (of("alpha_pattern") or {}).items():
            if place.name == pattern.replace(".", "_") or place.name.endswith(f"_{pattern.replace('.', '_')}"):
                alpha = own
        return (None if alpha is None else float(alpha)), bool(of("use_rslora"))

    return alpha_at


def _refused(path: Path, found: str, expected: str, fix: str = "get the file again from its source") -> RequestError:
    return RequestError(f"The LoRA {path}", found=found, expected=expected, fix=fix)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"
