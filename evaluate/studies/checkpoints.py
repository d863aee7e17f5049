"""Pictures of training checkpoints: merge, export and generate through the command lines of the other parts."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from engine.errors import CytosynthError, RequestError
from engine.files import sha256_of, write_json
from engine.options import Range, check_settings, setting

__all__ = ["Checkpoint", "GenerationSettings", "find_checkpoints", "make_pictures", "refuse_others"]

MADE = "made.json"
"""The file that names a folder's checkpoint and settings, and says whether all its pictures are complete."""
NAME = re.compile(r"(?P<class_name>.+)-(?P<step>\d+)\.safetensors")


@dataclass(frozen=True)
class Checkpoint:
    """A hypernetwork of one class after `step` training steps."""

    class_name: str
    step: int
    path: Path

    @property
    def name(self) -> str:
        """Name of the class in the bundle of this checkpoint."""
        return f"{self.class_name}-{self.step}"

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the file."""
        return sha256_of(self.path)


@dataclass(frozen=True)
class GenerationSettings:
    """How the pictures of each checkpoint are generated. Raises RequestError for a value out of range."""

    PANEL: ClassVar[str] = "Generation"

    base: str = setting(help="Base model that the checkpoints were trained on.")
    n: int = setting(150, flag="--n", within=Range(low=2), help="Number of pictures per checkpoint.")
    guidance_scale: float = setting(7.0, within=Range(low=0), help="Guidance scale of the sampler.")
    steps: int = setting(20, flag="--sampling-steps", within=Range(low=1), help="Number of sampling steps.")

    def __post_init__(self) -> None:
        check_settings(self)


def find_checkpoints(folder: Path, class_names: Sequence[str], steps: Sequence[int]) -> list[Checkpoint]:
    """Return the checkpoints that `python -m trainer fit --save-every` wrote to OUT/steps, sorted by class and step.

    Their files are named <class>-<step>.safetensors. class_names and steps select some of them; if empty, they select
    all. Raises RequestError for missing checkpoints.
    """
    where = folder / "steps" if (folder / "steps").is_dir() else folder
    matches = [(NAME.fullmatch(path.name), path) for path in sorted(where.glob("*.safetensors"))]
    found = [Checkpoint(match["class_name"], int(match["step"]), path) for match, path in matches if match]
    chosen = [
        one for one in found if (not class_names or one.class_name in class_names) and (not steps or one.step in steps)
    ]
    there = {(one.class_name, one.step) for one in chosen}
    names = list(class_names) or sorted({one.class_name for one in chosen})
    if steps:
        missing = [f"{name}-{step}" for name in names for step in steps if (name, step) not in there]
    else:
        missing = [name for name in names if name not in {class_name for class_name, _ in there}]
    if missing or not chosen:
        raise RequestError(
            f"The checkpoints in {where}",
            found=", ".join(one.path.name for one in found) or "none",
            expected=", ".join(missing) or "<class>-<step>.safetensors",
            fix="run `python -m trainer fit ... --save-every 5000` and name the folder of its --out",
        )
    return sorted(chosen, key=lambda one: (names.index(one.class_name), one.step))


def make_pictures(checkpoint: Checkpoint, out: Path, settings: GenerationSettings) -> Path:
    """Generate the pictures of a checkpoint and return their folder.

    Complete pictures in `out` are not generated again, so call `refuse_others` first. The merged folder and the bundle
    are removed when the pictures are complete. Raises CytosynthError with the output of a command that fails.
    """
    merged, bundle, pictures = out / "merged", out / "bundle", out / "pictures"
    made = {"checkpoint": checkpoint.sha256, **asdict(settings)}
    base = settings.base
    if not _made(out).get("done"):
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / MADE, {**made, "done": False})
        if not (merged / "class.json").is_file():
            _run("trainer", "merge", checkpoint.path, "--out", merged, "--base", base, "--class", checkpoint.name)
        if not (bundle / "manifest.json").is_file():
            name = Path(base).resolve().name
            sampling = ("--steps", settings.steps, "--guidance-scale", settings.guidance_scale, "--batch-size", 8)
            _run("exporter", "onnx", merged, "--out", bundle, "--name", "curve", "--base", name, *sampling)
        _run("engine", "generate", "--bundle", bundle, "--class", checkpoint.name, "--n", settings.n, "--out", pictures)
        write_json(out / MADE, {**made, "done": True})
        shutil.rmtree(merged)
        shutil.rmtree(bundle)
    return pictures / checkpoint.name


def refuse_others(checkpoint: Checkpoint, out: Path, settings: GenerationSettings) -> None:
    """Raise RequestError if `out` holds pictures of another checkpoint or other settings."""
    wanted = {"checkpoint": checkpoint.sha256, **asdict(settings)}
    made = _made(out)
    differs = [key for key in wanted if made and made.get(key) != wanted[key]]
    if differs:
        raise RequestError(
            f"The pictures in {out}",
            found=", ".join(f"{key} {made.get(key)}" for key in differs),
            expected=", ".join(f"{key} {wanted[key]}" for key in differs),
            fix="name another folder with --out, or remove this folder",
        )


def _made(out: Path) -> dict[str, Any]:
    path = out / MADE
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
    except (TypeError, ValueError) as error:
        raise RequestError(
            f"The record {path}", found=str(error), expected="JSON", fix=f"remove the folder {out}"
        ) from error


def _run(*words: object) -> None:
    command = [sys.executable, "-m", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own command lines
    if done.returncode != 0:
        raise (RequestError if done.returncode == RequestError.exit_code else CytosynthError)(
            shlex.join(["python", *command[1:]]),
            found=f"exit code {done.returncode}\n{done.stderr.strip()[-2000:]}",
            expected="exit code 0",
            fix="run this command alone to see its whole output, then rerun `curve`, which resumes",
        )
