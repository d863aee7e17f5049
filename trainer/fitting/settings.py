"""Settings of `fit` and `embed`. This module does not import torch."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import ClassVar

from engine.errors import RequestError
from engine.options import Range, check_settings, parse_list, setting
from trainer.base.caption_files import read_templates
from trainer.base.card import FIT_PRESET_NAMES
from trainer.hypernetwork.structure import HypernetworkSettings, parse_dimensions
from trainer.training.outputs import OutputSettings
from trainer.training.progress import TrainingLog
from trainer.training.record import NOT_STATED, ORIGINS, ClassSettings
from trainer.training.settings import Hardware, LoopSettings

__all__ = [
    "LATENT_SAMPLING",
    "METHODS",
    "PROJECTIONS",
    "ClassTrainingSettings",
    "FitOptions",
    "MethodSettings",
    "NetworkSettings",
    "PresetSettings",
    "PriorSettings",
    "WordSettings",
]

LATENT_SAMPLING = ("once", "deterministic", "random")
METHODS = ("hypernetwork", "lora", "full")
PROJECTIONS = ("q", "k", "v", "out")
OPTIMIZERS = ("auto", "adamw", "adamw8bit")


def _projections(text: str) -> tuple[str, ...]:
    names = parse_list(str, text)
    if wrong := [name for name in names if name not in PROJECTIONS]:
        expected = ", ".join(PROJECTIONS)
        raise RequestError("--lora-projections", found=wrong[0] or "no name", expected=expected, fix="change the name")
    return tuple(name for name in PROJECTIONS if name in names)


def _templates(text: str) -> tuple[str, ...]:
    return read_templates(Path(text))


@dataclass(frozen=True)
class FitOptions:
    """Settings of the latents, the loss and the captions. The defaults are the thesis's: none of the extras."""

    PANEL: ClassVar[str] = "Latents and captions"

    latent_sampling: str = setting(
        "once",
        help="Latents from the autoencoder's posterior (one sample for all steps, the mean, or a new sample per step)",
        choices=LATENT_SAMPLING,
    )
    symmetries: bool = setting(False, help="Use each picture in the eight symmetries of the square.")
    snr_gamma: float | None = setting(
        None, help="Gamma of min-SNR weighting of the loss. Default: no weighting.", within=Range(above=0)
    )
    templates: tuple[str, ...] | None = setting(
        None,
        help="Text file with one template per line, in place of the prompt. [name] and [filewords] are replaced.",
        flag="--template",
        parser=_templates,
        metavar="FILE",
    )
    shuffle_tags: bool = setting(False, help="Shuffle the parts of the prompt between commas.")
    tag_dropout: float = setting(
        0.0,
        help="Probability of dropping a part of the prompt between commas.",
        within=Range(low=0, below=1),
    )
    alpha_weight: bool = setting(False, help="Weigh the loss by the alpha channel of the pictures.")

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True)
class ClassTrainingSettings:
    """The settings that `fit` and `embed` share."""

    record: ClassSettings = field(default=ClassSettings(origin=ORIGINS[0], licence=NOT_STATED, attribution=NOT_STATED))
    loop: LoopSettings = field(default=LoopSettings())
    options: FitOptions = field(default=FitOptions())
    log: TrainingLog = field(default=TrainingLog())
    output: OutputSettings = field(default=OutputSettings())
    hardware: Hardware = field(default=Hardware())


@dataclass(frozen=True)
class NetworkSettings:
    """Settings of the hypernetwork that `fit` trains."""

    PANEL: ClassVar[str] = HypernetworkSettings.PANEL

    structure: HypernetworkSettings = field(default=HypernetworkSettings())
    dimensions: tuple[int, ...] | None = setting(
        None,
        help="Context dimensions that get a module, such as 320,768. Default: all dimensions of the base.",
        parser=parse_dimensions,
        metavar="NUMBERS",
    )
    start_from: Path | None = setting(
        None, help="Hypernetwork to continue from, .safetensors or .pt. Its structure replaces the options above."
    )


@dataclass(frozen=True)
class PriorSettings:
    """Pictures of a wider class that the trained model must still draw: prior preservation."""

    PANEL: ClassVar[str] = "Prior preservation"

    prior_pictures: Path | None = setting(
        None,
        help="Folder of pictures that the base drew of a wider class. They keep the training from changing that class.",
    )
    prior_prompt: str | None = setting(
        None, help="Prompt of these pictures. Default: the name of their folder as words."
    )
    prior_weight: float = setting(1.0, help="Weight of the loss on these pictures.", within=Range(above=0))

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True)
class MethodSettings:
    """What `fit` trains: a hypernetwork, a LoRA, or the whole UNet, and the prior that it preserves."""

    PANEL: ClassVar[str] = "Method"

    method: str = setting(
        "hypernetwork",
        help="What is trained: a hypernetwork, a LoRA of the UNet, or the whole UNet (full, as in DreamBooth)",
        choices=METHODS,
    )
    rank: int = setting(8, help="Rank of a LoRA.", within=Range(low=1))
    alpha: float | None = setting(
        None, help="Alpha of a LoRA; its matrices count alpha / rank times. Default: the rank.", within=Range(above=0)
    )
    lora_projections: tuple[str, ...] | None = setting(
        None,
        help="Projections of the attention layers that a LoRA changes, separated by commas. Default: q,k,v,out.",
        parser=_projections,
        metavar="NAMES",
    )
    lora_convolutions: bool = setting(False, help="Give a LoRA's matrices to the convolutions, too.")
    optimizer: str = setting(
        "auto",
        help="Optimiser of --method full (auto is adamw8bit on a GPU if bitsandbytes is installed, else adamw)",
        choices=OPTIMIZERS,
    )
    prior: PriorSettings = field(default=PriorSettings())

    def __post_init__(self) -> None:
        check_settings(self)

    def expect_matching(self, given: Collection[str], *, webui: bool) -> None:
        """Raise RequestError for an option of another method. given: names of the options that were given."""
        network = {declared.name for declared in (*fields(HypernetworkSettings), *fields(NetworkSettings))}
        owners = {
            **dict.fromkeys(network, "hypernetwork"),
            **dict.fromkeys(("rank", "alpha", "lora_projections", "lora_convolutions"), "lora"),
            "optimizer": "full",
        }
        for name in sorted(given):
            if owners.get(name, self.method) != self.method:
                raise RequestError(
                    f"--{name.replace('_', '-')}",
                    found=f"--method {self.method}",
                    expected=f"--method {owners[name]}, to which the option belongs",
                    fix="leave the option out, or change --method",
                )
        if webui and self.method != "hypernetwork":
            raise RequestError(
                "--webui",
                found=f"--method {self.method}",
                expected="--method hypernetwork, which has a format of its own there",
                fix="leave the option out; a LoRA file has the names of kohya's scripts, which the WebUI reads",
            )


@dataclass(frozen=True)
class WordSettings:
    """Settings of the words that `embed` trains."""

    PANEL: ClassVar[str] = "New words"

    vectors: int = setting(1, help="Number of tokens of the new words.", within=Range(low=1))
    initial_text: str = setting("*", help="Text whose tokens the new words start from.")


@dataclass(frozen=True)
class PresetSettings:
    """Settings that follow from the base."""

    PANEL: ClassVar[str] = "Training"

    preset: str | None = setting(
        None,
        help="Settings for options that are not given. small: for a base of pretrain; batch 8, rate 1e-3 after a "
        "warm-up, steps by the number of pictures. sd15: the thesis's. Default: by the base",
        choices=FIT_PRESET_NAMES,
    )
