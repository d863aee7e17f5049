"""Settings of `pretrain`: the new base and its four stages. This module does not import torch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

from engine.errors import RequestError
from engine.options import Prefix, Range, check_settings, setting
from trainer.base.card import expect_words
from trainer.base.presets import PRESETS
from trainer.training.settings import LoopSettings, decaying_loop

__all__ = ["EncoderSettings", "PretrainSettings", "Stages"]


REFINER_STEPS = 4000


@dataclass(frozen=True)
class Stages:
    """Loops of the four stages of pretraining.

    `unet` None keeps the UNet and the text encoder of the start base, `decoder` None its decoder. `refiner` None trains
    no refiner; the base then has the refiner of the start base, if that has one.
    """

    vae: LoopSettings
    unet: LoopSettings | None
    decoder: LoopSettings | None
    refiner: LoopSettings | None = None
    unet_snr_gamma: float = 5.0
    """Gamma of the min-SNR weighting of the UNet's loss."""


@dataclass(frozen=True)
class StageSettings:
    """Settings of one stage of pretraining."""

    steps: int = setting(help="Number of training steps.", within=Range(low=1))
    batch_size: int = setting(help="Pictures per step.", within=Range(low=1))
    learning_rate: float = setting(
        help="Highest learning rate; the rate then falls along a cosine.", within=Range(above=0)
    )

    def loop(self, seed: int, **rest: Any) -> LoopSettings:
        """Return the settings of the stage's loop."""
        warmup = min(200, max(1, self.steps // 10))
        return decaying_loop(self.steps, self.batch_size, self.learning_rate, warmup=warmup, seed=seed, **rest)


class VaeStage(StageSettings):
    """Settings of the autoencoder's training."""

    PANEL: ClassVar[str] = "Autoencoder of a new base"


@dataclass(frozen=True)
class DecoderStage(StageSettings):
    """Settings of the decoder's training against critics."""

    PANEL: ClassVar[str] = "Decoder, trained against critics"

    steps: int = setting(help="Number of training steps. 0 keeps the decoder of --start-from.", within=Range(low=0))


@dataclass(frozen=True)
class RefinerStage(StageSettings):
    """Settings of the training of the refiner, which draws grain."""

    PANEL: ClassVar[str] = "Refiner, which draws grain"

    steps: int | None = setting(  # type: ignore[assignment]
        help=f"Number of training steps. 0 trains no refiner. Default: {REFINER_STEPS}, and 0 for the preset tiny.",
        within=Range(low=0),
    )

    def loop_of(self, preset: str, seed: int) -> LoopSettings | None:
        """Return the settings of the stage's loop for a preset of the base, or None if no refiner is trained.

        A base of the preset tiny is for trials, and training its refiner would take most of the time.
        """
        steps = self.steps if self.steps is not None else 0 if preset == "tiny" else REFINER_STEPS
        return replace(self, steps=steps).loop(seed, ema_decay=0.995, betas=(0.9, 0.99)) if steps else None


@dataclass(frozen=True)
class UNetStage(StageSettings):
    """Settings of the training of UNet and text encoder."""

    PANEL: ClassVar[str] = "UNet and text encoder"

    steps: int = setting(
        help="Number of training steps. 0 keeps the UNet and the text encoder of --start-from.", within=Range(low=0)
    )
    snr_gamma: float = setting(
        5.0,
        help="Gamma of min-SNR weighting of the loss. A larger one gives the last noise levels more weight.",
        within=Range(above=0, high=1e6),
    )


@dataclass(frozen=True)
class CardSettings:
    """What the card of the base states; see trainer.base.card. None keeps the value of --start-from."""

    PANEL: ClassVar[str] = "Card of the base"

    description: str | None = setting(None, help="The base in words. Default: its training pictures by class.")
    licence: str | None = setting(
        None, help="Licence of the pictures. Bundles and pictures made with the base state it."
    )
    attribution: str | None = setting(None, help="Name to credit for the pictures.")
    crop: float | None = setting(
        None,
        help="Share of the centre square that the pictures kept. Default: as prepare recorded it.",
        within=Range(above=0, high=1),
    )
    guidance_scale: float = setting(2.0, help="Guidance scale that bundles on this base get.", within=Range(0, 100))
    guidance_interval: tuple[float, float] = setting((2.0, 6.0), help="LO HI: guide only between these sigmas.")

    def __post_init__(self) -> None:
        check_settings(self)
        expect_words(description=self.description, licence=self.licence, attribution=self.attribution)
        low, high = self.guidance_interval
        if not 0 <= low <= high:
            raise RequestError(
                "--guidance-interval", found=f"{low:g} {high:g}", expected="0 <= LO <= HI", fix="change the values"
            )


@dataclass(frozen=True)
class Origin:
    """What a base begins as, and what its card states beside what is measured."""

    preset: str = "small"
    """Size of a new base, a key of PRESETS."""
    start: str | Path | None = None
    """A base to continue from, in place of a new base: a folder, or the name of a base that ships."""
    card: CardSettings = field(default_factory=CardSettings)


@dataclass(frozen=True)
class PretrainSettings:
    """Settings of the training of a base."""

    start_from: str | None = setting(
        None, help="Base to continue from: cells (the base that ships), or a diffusers folder. Default: a new base."
    )
    preset: str = setting("small", help="Size of a new base; tiny is for trials", choices=[*PRESETS])
    seed: int = setting(0, help="Seed of all random numbers.", within=Range(low=0, high=2**63 - 1))
    vae: Annotated[VaeStage, Prefix("vae")] = field(default=VaeStage(6000, 16, 6e-4))
    decoder: Annotated[DecoderStage, Prefix("decoder")] = field(default=DecoderStage(1800, 8, 1.2e-4))
    unet: Annotated[UNetStage, Prefix("unet")] = field(default=UNetStage(6500, 32, 4e-4))
    refiner: Annotated[RefinerStage, Prefix("refiner")] = field(default=RefinerStage(None, 6, 1e-3))

    def __post_init__(self) -> None:
        check_settings(self)
        for prefix in ("vae", "decoder", "unet", "refiner"):
            check_settings(getattr(self, prefix), prefix)
        for prefix in ("unet", "decoder"):
            if getattr(self, prefix).steps == 0 and self.start_from is None:
                raise RequestError(
                    f"--{prefix}-steps",
                    found="0",
                    expected="at least 1 for a new base",
                    fix=f"raise --{prefix}-steps, or continue from a base with --start-from",
                )

    def stages(self) -> Stages:
        """Return the loops of the four stages."""
        return Stages(
            vae=self.vae.loop(self.seed),
            unet=self.unet.loop(self.seed, ema_decay=0.999) if self.unet.steps else None,
            decoder=self.decoder.loop(self.seed, ema_decay=0.99, betas=(0.5, 0.99)) if self.decoder.steps else None,
            refiner=self.refiner.loop_of(self.preset, self.seed),
            unet_snr_gamma=self.unet.snr_gamma,
        )


@dataclass(frozen=True)
class EncoderSettings:
    """Settings of the training of the encoder that `evaluate` uses."""

    PANEL: ClassVar[str] = "Training"

    attribution: str = setting(help="Name to credit for the pictures.")
    work: Path = setting(Path("work/encoder"), help="Folder for checkpoints.")
    steps: int = setting(1000, help="Number of training steps.", within=Range(low=1))
    batch_size: int = setting(32, help="Pictures per step.", within=Range(low=1))
    seed: int = setting(0, help="Seed of all random numbers.", within=Range(low=0, high=2**63 - 1))

    def loop(self) -> LoopSettings:
        """Return the settings of the loop."""
        return decaying_loop(self.steps, self.batch_size, 2e-3, weight_decay=0.02, seed=self.seed)
