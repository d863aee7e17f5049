"""Settings of `fit` and `embed`. This module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from engine.options import Range, check_settings, setting
from trainer.base.caption_files import read_templates
from trainer.base.card import FIT_PRESET_NAMES
from trainer.hypernetwork.structure import HypernetworkSettings, parse_dimensions
from trainer.training.outputs import OutputSettings
from trainer.training.progress import TrainingLog
from trainer.training.record import NOT_STATED, ORIGINS, ClassSettings
from trainer.training.settings import Hardware, LoopSettings

__all__ = [
    "LATENT_SAMPLING",
    "ClassTrainingSettings",
    "FitOptions",
    "NetworkSettings",
    "PresetSettings",
    "WordSettings",
]

LATENT_SAMPLING = ("once", "deterministic", "random")


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
