"""The peer cyto_bench, the benchmark in C++."""

from __future__ import annotations

import json
import subprocess
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.peers.peer import Work
from benchmarks.rounds import Opened, System
from engine.backends.select import PROBES, distinct_precisions
from engine.errors import CytosynthError, RequestError
from engine.measure.reference import reference_jobs, write_reference

__all__ = ["CytoBenchPeer"]

MODES = {"picture": ("trajectory", "decode"), "step": ("unet",), "decode": ("decode",)}
"""Modes of cyto_bench for each part. A picture is denoised and decoded; cyto_bench writes no PNG files."""
CHECKED_STEPS = 2
"""Steps of the trajectory in the check if the part has no steps. 8-bit graphs need the full number of steps, because
so few steps do not converge."""


class CytoBenchPeer:
    """The program cyto_bench, one process per round. It first checks its results against the engine's reference."""

    def __init__(self, program: Path) -> None:
        self._program = program

    def add_to(self, opened: Opened, work: Work, part: str) -> None:
        """Add a system for each precision of OpenVINO, or the reason why the program cannot be measured."""
        for precision in distinct_precisions(work.job):
            name = f"cyto_bench {precision}" + (", no PNG files" if part == "picture" else "")
            opened.add(name, partial(_system, name, self._program, work, part, precision))
        tensorrt = PROBES["tensorrt"]()
        alone = "cyto_bench measures it separately; docs/reference/cpp_bench.md has the command"
        opened.not_measured["cyto_bench TensorRT"] = alone if tensorrt.usable else tensorrt.detail


def _system(name: str, program: Path, work: Work, part: str, precision: str) -> System:
    if not program.is_file():
        raise RequestError(
            f"The program {program.name}", found="not built", expected="a built program", fix="make cpp-bench"
        )
    whole = part == "picture" or precision == "int8"
    steps = work.request.num_inference_steps if whole else CHECKED_STEPS
    (job,) = reference_jobs(
        work.bundle,
        [work.class_name],
        backend="openvino",
        num_inference_steps=steps,
        guidance_scale=work.request.guidance_scale,
    )
    reference = work.folder / f"reference-{steps}.safetensors"
    if not reference.exists():
        write_reference(job.changed(threads=work.request.threads), reference)
    runs = _Runs(program, work, MODES[part], steps, reference, precision)
    if part == "step":
        # This mode does not check what it times. A trajectory in the same precision does.
        runs.rate("trajectory")
    return System(name, "cyto_bench", runs, "its own check", warms_up=True)


class _Runs:
    """Each call starts one process per mode. The seconds are those of one batch, without opening and warm-up."""

    def __init__(
        self, program: Path, work: Work, modes: tuple[str, ...], steps: int, reference: Path, precision: str
    ) -> None:
        request = work.request
        # The engine also cuts a batch into one part per thread.
        streams = request.threads if request.batch_size % request.threads == 0 else 1
        self._batch_size, self._modes = request.batch_size, modes
        self._command = [str(program), "--bundle", str(work.bundle.folder), "--class", work.class_name]
        self._command += ["--batch", str(request.batch_size // streams), "--streams", str(streams)]
        self._command += ["--threads", str(request.threads), "--precision", precision, "--steps", str(steps)]
        self._command += ["--guidance-scale", repr(request.guidance_scale), "--reference", str(reference)]
        self._command += ["--warmup", "1", "--iterations", "1"]

    def __call__(self) -> tuple[float, None]:
        """Return the seconds of one batch."""
        return sum(self._batch_size / self.rate(mode) for mode in self._modes), None

    def rate(self, mode: str) -> float:
        """Return pictures or steps per second in a mode, after the program's own check."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "record.json"
            command = [*self._command, "--mode", mode, "--json", str(path)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise CytosynthError(
                    f"cyto_bench --mode {mode}",
                    found=" ".join(done.stderr.split()).removeprefix("error: ") or f"exit code {done.returncode}",
                    expected="a record",
                    fix="run the program by hand; docs/reference/cpp_bench.md has the commands",
                )
            (result,) = json.loads(path.read_text())["results"]
        rate: Any = result["steps_per_second" if mode == "unet" else "pictures_per_second"]
        return float(rate)
