"""Settings of `python -m benchmarks`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from engine.options import Range, parse_whole_numbers, setting

__all__ = ["PARTS", "PeerSettings", "RecordSettings", "TrainingSettings"]

PARTS = ("picture", "step", "decode")
TRAINED = ("hypernetwork", "lora")
CYTO_BENCH = Path(__file__).parents[1] / "cpp_bench/build/cyto_bench"


@dataclass(frozen=True)
class PeerSettings:
    """What is compared, with which settings, and for how long."""

    PANEL: ClassVar[str] = "Comparison"

    part: list[str] | None = setting(
        None, help=f"Part to compare (default: {PARTS[0]}). May be repeated", choices=PARTS
    )
    system: list[str] | None = setting(
        None, help="Only systems whose names start with this text (default: all). May be repeated."
    )
    batch_size: tuple[int, ...] = setting(
        (8,),
        help="Batch sizes, separated by commas.",
        parser=partial(parse_whole_numbers, "--batch-size"),
        metavar="N,N,...",
    )
    preset: str | None = setting(
        None,
        help="Preset of the bundle with which the engine draws, for example turbo. The peers keep the other settings.",
    )
    guidance_scale: float | None = setting(
        None, help="Guidance scale of all systems without a preset (default: from the bundle)."
    )
    num_inference_steps: int | None = setting(
        None, flag="--steps", help="Steps of DPM++ 2M on Karras sigmas, without a preset (default: from the bundle)."
    )
    threads: int = setting(0, within=Range(low=0), help="Processor threads of each system; 0 uses every core.")
    rounds: int = setting(5, within=Range(low=1), help="Number of rounds. All systems take turns in each round.")
    cap_s: float = setting(
        120.0,
        flag="--cap",
        within=Range(above=0),
        help="Time limit in s. A slower system runs in one round only.",
    )
    cyto_bench: Path | None = setting(
        None, help="The program cyto_bench (default: cpp_bench/build/cyto_bench, built by `make cpp-bench`)."
    )

    @property
    def program(self) -> Path:
        """The program cyto_bench."""
        return self.cyto_bench or CYTO_BENCH

    @property
    def parts(self) -> list[str]:
        """The parts to compare."""
        return self.part or [PARTS[0]]


@dataclass(frozen=True)
class TrainingSettings:
    """How training loops are compared."""

    PANEL: ClassVar[str] = "Comparison"

    method: str = setting("hypernetwork", help="What the loops train (lora: of rank 8)", choices=TRAINED)
    batch_size: int = setting(1, within=Range(low=1), help="Pictures per step.")
    rounds: int = setting(12, within=Range(low=1), help="Number of rounds. All loops take turns in each round.")
    steps: int = setting(3, within=Range(low=1), help="Training steps per round.")
    device: str = setting("auto", help="Device: auto, cpu, or a GPU such as cuda:0.")
    only_float32: bool = setting(
        False, flag="--f32-only", help="Leave out the loops in bfloat16, which some processors compute very slowly."
    )
    compiled: bool = setting(False, flag="--compile", help="Also time the loop of `trainer fit` with torch.compile.")


@dataclass(frozen=True)
class RecordSettings:
    """Where the result goes."""

    PANEL: ClassVar[str] = "Output"

    record: Path | None = setting(None, help="Write the record with the raw seconds to this file.")
    as_json: bool = setting(False, flag="--json", help="Print one JSON object to stdout.")
