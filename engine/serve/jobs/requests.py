"""Requests for jobs: what a client may state, and the checked job that is made of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model, model_validator

from engine.backends.select import settle
from engine.bundle.folder import Bundle
from engine.bundle.job import Job, make_job
from engine.bundle.settings import (
    GuidanceSettings,
    HardwareSettings,
    HiresSettings,
    PictureSettings,
    SamplingSettings,
    VariationSettings,
    settings_of,
)
from engine.initial.settings import InitialSettings
from engine.options import Range, check_within, help_of
from engine.output.formats import Output
from engine.output.journal import previous_identity
from engine.serve.encoding import decoded
from engine.serve.settings import LimitSettings

__all__ = ["INITIAL", "PICTURES", "JobRequest", "Place", "bytes_of", "make_checked_job", "write_initial"]

PICTURES, INITIAL, MASK = "pictures", "initial", "mask.png"
STATED = (SamplingSettings, GuidanceSettings, PictureSettings, HiresSettings, InitialSettings, VariationSettings)
PATHS = ("init", "mask")
"""Settings that are paths of files. A client sends pictures instead."""
UNWRITABLE = re.compile("[\0\ud800-\udfff]")
OF_HARDWARE = ("batch_size", "precision")
BYTES_PER_PIXEL = 1.5
"""Size of a stored picture of cells, as engine.output.formats takes it."""


def _declared() -> Iterator[tuple[str, Any]]:
    """Yield the settings that a client may state, as pydantic takes fields."""
    for kind in STATED:
        hints = get_type_hints(kind)
        for declared in fields(kind):
            if declared.name not in PATHS:
                yield declared.name, (hints[declared.name], Field(declared.default, description=help_of(declared)))
    yield "batch_size", (int | None, Field(None, description="Pictures per batch (default: from the bundle)."))
    yield "precision", (str | None, Field(None, description="Arithmetic: f32 or int8 (default: from the preset)."))


if TYPE_CHECKING:

    class JobSettings(BaseModel):
        """Settings as those of `engine generate`."""
else:
    JobSettings = create_model(
        "JobSettings",
        __config__=ConfigDict(extra="forbid", allow_inf_nan=False),
        __doc__="Settings as those of `engine generate`.",
        **dict(_declared()),
    )


class JobRequest(BaseModel):
    """An order of pictures."""

    model_config = ConfigDict(extra="forbid")

    bundle: str | None = Field(None, description="Name of a served bundle (default: the first one).")
    classes: dict[str, Annotated[int, Field(ge=1)]] = Field(
        min_length=1, max_length=1000, description="Number of pictures of each class.", examples=[{"cyt_mast": 100}]
    )
    settings: JobSettings = Field(
        default_factory=JobSettings, description="Settings as those of `engine generate`; what is missing is default."
    )
    init_images: list[str] = Field(
        [], max_length=4096, description="Initial pictures in base64. Picture i varies initial picture i mod K."
    )
    mask: str | None = Field(None, description="Mask of all initial pictures in base64: white is repainted.")

    @model_validator(mode="before")
    @classmethod
    def _expect_text(cls, values: Any) -> Any:
        """Refuse characters that no record of a run can hold."""
        if _unwritable(values):
            raise ValueError("text holds a NUL character or half of a surrogate pair")
        return values

    def stated(self) -> dict[str, Any]:
        """Return the settings that the client stated."""
        return self.settings.model_dump(exclude_unset=True)


@dataclass(frozen=True)
class Place:
    """What the server adds to a request: where the files of the job lie, and what computes."""

    folder: Path
    """Folder of the job."""
    hardware: HardwareSettings
    limits: LimitSettings

    @property
    def output(self) -> Output:
        """The folder of pictures. Other formats are made when the result is fetched."""
        return Output(self.folder / PICTURES)


def write_initial(request: JobRequest, folder: Path) -> None:
    """Write the initial pictures and the mask of a request into the folder of its job. Raises RequestError."""
    if request.mask is not None:
        (folder / MASK).write_bytes(decoded(request.mask, "mask"))
    if request.init_images:
        (folder / INITIAL).mkdir(mode=0o700)
    for i, text in enumerate(request.init_images):
        (folder / INITIAL / f"initial-{i:04d}.png").write_bytes(decoded(text, f"init_images[{i}]"))


def make_checked_job(bundle: Bundle, classes: Mapping[str, int], stated: Mapping[str, Any], place: Place) -> Job:
    """Return the job of stored settings, on the backend of this server. Raises RequestError.

    A job that was interrupted keeps what its run states. stated: fields of JobSettings.
    """
    hardware = replace(place.hardware, **{name: stated[name] for name in OF_HARDWARE if stated.get(name) is not None})
    hardware_fields = {declared.name: getattr(hardware, declared.name) for declared in fields(hardware)}
    files = {"init": place.folder / INITIAL, "mask": place.folder / MASK}
    found = {name: path for name, path in files.items() if path.exists()}
    settings = settings_of(**{**stated, **hardware_fields, **found})
    previous = previous_identity(place.output.folder)
    job, _ = settle(make_job(bundle, list(classes), classes, settings, previous), hardware)
    place.limits.check_size(job.request.final_size)
    check_within("The number of pictures", sum(job.request.counts), Range(1, place.limits.job_pictures))
    return job


def bytes_of(job: Job) -> int:
    """Return about how many bytes the pictures of a job take."""
    width, height = job.request.final_size
    return int(BYTES_PER_PIXEL * width * height * sum(job.request.counts))


def _unwritable(value: Any) -> bool:
    """Return whether a JSON value holds text that cannot be written."""
    if isinstance(value, str):
        return UNWRITABLE.search(value) is not None
    if isinstance(value, dict):
        return any(map(_unwritable, value)) or any(map(_unwritable, value.values()))
    return isinstance(value, list) and any(map(_unwritable, value))
