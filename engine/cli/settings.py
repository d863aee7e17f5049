"""Settings that only the commands of `engine` take: which pictures, where to write them, on which machines."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

from engine.bundle.presets import PRECISIONS
from engine.bundle.settings import AUTO, BACKENDS, parse_batch_size
from engine.errors import RequestError
from engine.options import Range, parse_list, setting
from engine.output.formats import FORMATS

__all__ = ["ClusterSettings", "ComparedSettings", "OutputSettings", "SubjectSettings"]


@dataclass(frozen=True)
class SubjectSettings:
    """The bundle, its classes, and the numbers of pictures."""

    PANEL: ClassVar[str] = "Pictures"

    class_name: list[str] | None = setting(
        None, flag="--class", help="Class of the bundle, classes separated by commas, or all. May be repeated."
    )
    n: int | None = setting(None, flag="--n", help="Number of pictures per class.")
    balance: Path | None = setting(
        None,
        help="Folder of real pictures per class. Fill every class up to --n, or to the size of the largest class.",
    )
    bundle: str = setting("cells", help="Name of an embedded bundle, or path of a bundle's folder.")
    like: Path | None = setting(
        None,
        metavar="FILE",
        help="Picture whose settings to take: one of this engine, which is made again, or one of AUTOMATIC1111's "
        "WebUI. Options given explicitly override them.",
    )


@dataclass(frozen=True)
class OutputSettings:
    """Where and how the pictures are written."""

    PANEL: ClassVar[str] = "Output"

    out: str = setting(
        "out", metavar="DIR|URL", help="Output folder, or a URL that fsspec can write to, for example s3://bucket/run."
    )
    file_format: str = setting(FORMATS[0], flag="--format", help="Output format", choices=FORMATS)
    shard_pictures: int | None = setting(
        None, help="Pictures per webdataset shard (default: as many as make about 1 GB)."
    )
    overwrite: bool = setting(False, help="Replace another run in the output folder.")
    as_json: bool = setting(False, flag="--json", help="Print one JSON object to stdout.")


@dataclass(frozen=True)
class ClusterSettings:
    """Other machines or processes that make a part of the pictures."""

    PANEL: ClassVar[str] = "Cluster"

    shard: str | None = setting(
        None, help="K/N: make piece K of N, for array jobs. `engine merge-runs` joins the pieces."
    )
    ray: str | None = setting(
        None, metavar="ADDRESS", help="Ray cluster: auto, host:port, or local to start one on this machine."
    )
    workers: int | None = setting(
        None,
        within=Range(low=1),
        help="Number of Ray workers. Each takes one GPU, or --threads processor cores (default: 1).",
    )

    def __post_init__(self) -> None:
        if self.workers is not None and self.ray is None:
            fix = "name a Ray cluster, or local"
            raise RequestError("--workers", found="no --ray", expected="--ray ADDRESS", fix=fix)


@dataclass(frozen=True)
class ComparedSettings:
    """What `engine bench` compares."""

    PANEL: ClassVar[str] = "Comparison"

    backend: list[str] | None = setting(
        None,
        help="Inference runtime (default: every usable one except TensorRT, whose plans limit the sizes). "
        "May be repeated",
        choices=(AUTO, *BACKENDS),
    )
    precision: list[str] | None = setting(
        None,
        help="Precision of openvino (default: all that differ on this machine). May be repeated",
        choices=PRECISIONS,
    )
    batch_size: tuple[int | str, ...] = setting(
        (1, 4, 8),
        help="Batch sizes, separated by commas.",
        parser=partial(parse_list, parse_batch_size),
        metavar="N,N,...",
    )
    rounds: int = setting(
        5, within=Range(low=1), help="Number of rounds. Everything that is compared takes turns in each round."
    )
