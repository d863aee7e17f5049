"""`merge-checkpoints`: merges whole checkpoints as AUTOMATIC1111's WebUI does, one tensor at a time."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from engine.errors import CytosynthError, RequestError
from engine.files import expect_folder_of, replace_file
from engine.locks import locked_folder_of
from engine.progress import Progress, silent
from trainer.checkpoints.arithmetic import combined
from trainer.checkpoints.blocks import expect_blocks
from trainer.checkpoints.plan import Plan, Way, plan_of, vae_names
from trainer.checkpoints.recipe import metadata_of, source_of
from trainer.checkpoints.settings import INPUTS, NO_INTERPOLATION, MergeSettings
from trainer.checkpoints.tensor_file import SUFFIX, TensorFile, bytes_of, open_tensor_file, write_tensors

__all__ = [
    "check_output",
    "check_request",
    "expect_checkpoint",
    "expect_no_stop",
    "expect_space",
    "merge_checkpoints",
]

PICKLES = (".ckpt", ".pt", ".pth", ".bin")


def merge_checkpoints(
    paths: Sequence[Path],
    settings: MergeSettings,
    *,
    progress: Progress = silent,
    stop: threading.Event | None = None,
) -> Plan:
    """Write the merge of checkpoints, and return what became of their tensors.

    Args:
        paths: A; A and B; or A, B and C.
        settings: The method, and what is written.
        progress: Is told of each file that is hashed, and of each tensor.
        stop: If it is set, the merge ends with an error, and nothing is written.

    Raises RequestError before a tensor is read, for checkpoints that do not fit each other, too little space, or an
    existing file. Raises CytosynthError for a tensor that is not finite.
    """
    check_request(paths, settings)
    files = [open_tensor_file(path) for path in paths]
    vae = None if settings.vae is None else open_tensor_file(settings.vae, "The VAE")
    if settings.blocks is not None:
        expect_blocks(files[0].entries, files[0].path.name)
    plan = plan_of(files, vae, settings)
    sources = []
    for i, file in enumerate(files, 1):
        expect_no_stop(stop)
        sources.append(source_of(file))
        progress("Hashing the checkpoints", i, len(files))
    metadata = metadata_of(sources, settings, plan.wider)
    tensors = _Tensors(files, vae, {} if vae is None else vae_names(vae), plan, settings)
    done = 0

    def tensor_of(name: str) -> torch.Tensor:
        nonlocal done
        expect_no_stop(stop)
        tensor = tensors.read(name)
        done += 1
        progress("Merging the tensors", done, len(plan.layout))
        return tensor

    with locked_folder_of(settings.out):
        check_output(settings.out, paths, overwrite=settings.overwrite)
        expect_space(settings.out, bytes_of(plan.layout, metadata))
        with replace_file(settings.out) as part:
            write_tensors(part, plan.layout, metadata, tensor_of)
    return plan


def check_request(paths: Sequence[Path], settings: MergeSettings) -> None:
    """Raise RequestError for a request that cannot be fulfilled whatever the files hold."""
    wanted = INPUTS[settings.method]
    if len(paths) != wanted:
        raise RequestError(
            f"--method {settings.method}",
            found=f"{len(paths)} checkpoints",
            expected=f"{wanted} ({', '.join('ABC'[:wanted])})",
            fix="name as many files",
        )
    if settings.method == NO_INTERPOLATION and settings.blocks is not None:
        fix = "leave --blocks out, or choose another method"
        raise RequestError("--blocks", found=NO_INTERPOLATION, expected="a method with a multiplier", fix=fix)
    for path in (*paths, *([] if settings.vae is None else [settings.vae])):
        expect_checkpoint(path)
    check_output(settings.out, paths, overwrite=settings.overwrite)


def expect_checkpoint(path: Path) -> None:
    """Raise RequestError unless the path is a safetensors file, by its name."""
    subject = f"The checkpoint {path.name}"
    if path.suffix.lower() in PICKLES:
        raise RequestError(
            subject,
            found=f"a pickle ({path.suffix}), which could run code",
            expected=SUFFIX,
            fix="get the model as .safetensors, or let the WebUI save it so (Checkpoint Merger, No interpolation)",
        )
    if path.is_dir():
        raise RequestError(
            subject,
            found="a folder",
            expected=f"a {SUFFIX} file in the original layout; the tensors of a diffusers folder have other names",
            fix="name the single file of the checkpoint",
        )
    if path.suffix.lower() != SUFFIX or not path.is_file():
        found = "no such file" if path.suffix.lower() == SUFFIX else f"the extension {path.suffix or 'of no kind'}"
        raise RequestError(subject, found=found, expected=f"a {SUFFIX} file", fix="check the path")


def check_output(out: Path, inputs: Sequence[Path], *, overwrite: bool) -> None:
    """Raise RequestError unless a new safetensors file can be written, or replaced if `overwrite` is set."""
    if out.suffix.lower() != SUFFIX:
        found = f"the extension {out.suffix or 'of no kind'}"
        raise RequestError(f"The file {out}", found=found, expected=SUFFIX, fix=f"name a {SUFFIX} file")
    expect_folder_of(out)
    if not out.exists():
        return
    if any(out.samefile(path) for path in inputs):
        raise RequestError(
            f"The file {out}", found="one of the checkpoints", expected="another file", fix="choose another name"
        )
    if not overwrite:
        raise RequestError(
            f"The file {out}",
            found="an existing file",
            expected="a new file",
            fix="choose another name, or add --overwrite",
        )


def expect_no_stop(stop: threading.Event | None) -> None:
    """Raise CytosynthError if a signal asked the command to stop."""
    if stop is not None and stop.is_set():
        raise CytosynthError(
            "The command",
            found="a signal to stop",
            expected="time to finish",
            fix="run the same command again; no file was written",
        )


def expect_space(out: Path, needed: int) -> None:
    """Raise RequestError unless so many bytes are free in the folder of a file."""
    free = shutil.disk_usage(out.absolute().parent).free
    if free < needed:
        raise RequestError(
            f"The disk of {out}",
            found=f"{free / 1e6:.0f} MB free",
            expected=f"{needed / 1e6:.0f} MB",
            fix="free some space, or name a file on another disk",
        )


@dataclass(frozen=True)
class _Tensors:
    """The tensors of the result, each computed when it is written."""

    files: Sequence[TensorFile]
    vae: TensorFile | None
    names_in_vae: dict[str, str]
    plan: Plan
    settings: MergeSettings

    def read(self, name: str) -> torch.Tensor:
        """Return a tensor in the type and shape of the plan. Raises CytosynthError if it is not finite."""
        wanted, way = self.plan.layout[name], self.plan.ways[name]
        if way is Way.MERGED:
            tensor = self._merged(name)
        elif way is Way.BAKED:
            assert self.vae is not None
            tensor = self.vae.read(self.names_in_vae[name]).reshape(wanted.shape)
        else:
            tensor = self.files[0].read(name)
        converted = tensor.to(wanted.dtype)
        if way is not Way.KEPT and not torch.isfinite(converted).all():
            raise self._not_finite(name, lost=bool(torch.isfinite(tensor).all()))
        return converted

    def _merged(self, name: str) -> torch.Tensor:
        a, b, *rest = [file.read(name) if name in file.entries else None for file in self.files]
        assert a is not None
        assert b is not None
        settings = self.settings
        multiplier = settings.multiplier
        if settings.blocks is not None:
            multiplier = settings.blocks.multiplier(name, multiplier)
        return combined(settings.method, a, b, rest[0] if rest else None, multiplier)

    def _not_finite(self, name: str, *, lost: bool) -> CytosynthError:
        if lost:
            found, fix = "values above 65504", "leave --half out"
            return CytosynthError(f"The tensor {name}", found=found, expected="the range of float16", fix=fix)
        wrong = [file for file in self.files if name in file.entries and not torch.isfinite(file.read(name)).all()]
        where = f" in {wrong[0].path.name}" if wrong else ""
        return CytosynthError(
            f"The tensor {name}",
            found=f"NaN or infinity{where}",
            expected="finite weights",
            fix="use another checkpoint, or leave the tensor out with --discard",
        )
