"""cyto_bench as a system of `bench`: a process a round, after its own check against the engine's reference."""

from __future__ import annotations

import json
import subprocess
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.peers.work import Work
from benchmarks.rounds import Opened, System
from engine.backends.select import PROBES, distinct_precisions
from engine.errors import CytosynthError, RequestError
from engine.measure.reference import reference_requests, write_reference

__all__ = ["CYTO_BENCH", "add_cyto_bench"]

CYTO_BENCH = Path(__file__).parents[1] / "cpp_bench/build/cyto_bench"
MODES = {"picture": ("trajectory", "decode"), "step": ("unet",), "decode": ("decode",)}
"""A picture is denoised and decoded; cyto_bench writes no PNG files."""
CHECKED_STEPS = 2
"""Of the trajectory that the check runs where the part has no steps of its own. In 8 bits so few end anywhere."""


def add_cyto_bench(opened: Opened, program: Path, work: Work, part: str) -> None:
    """One system for each precision of OpenVINO, where the program is built."""
    for precision in distinct_precisions(work.bundle, work.request):
        name = f"cyto_bench {precision}" + (", no PNG files" if part == "picture" else "")
        opened.add(name, partial(_system, name, program, work, part, precision))
    tensorrt = PROBES["tensorrt"]()
    alone = "run by itself: docs/cpp_bench.md has the command"
    opened.not_measured["cyto_bench TensorRT"] = alone if tensorrt.usable else tensorrt.detail


def _system(name: str, program: Path, work: Work, part: str, precision: str) -> System:
    if not program.is_file():
        raise RequestError(f"The program {program.name}", found="not built", expected="built", fix="make cpp-bench")
    whole = part == "picture" or precision == "int8"
    steps = work.request.num_inference_steps if whole else CHECKED_STEPS
    (request,) = reference_requests(
        work.bundle.manifest,
        [work.class_name],
        backend="openvino",
        num_inference_steps=steps,
        guidance_scale=work.request.guidance_scale,
    )
    reference = work.folder / f"reference-{steps}.safetensors"
    if not reference.exists():
        write_reference(work.bundle, replace(request, threads=work.request.threads), reference)
    runs = _Runs(program, work, MODES[part], steps, reference, precision)
    if part == "step":
        # The mode itself compares nothing of what it times; a trajectory in the same precision does.
        runs.rate("trajectory")
    return System(name, runs, "its own check", warms_up=True)


class _Runs:
    """Each call is a process for each mode; the seconds are those of a batch, opening and warm-up not counted."""

    def __init__(
        self, program: Path, work: Work, modes: tuple[str, ...], steps: int, reference: Path, precision: str
    ) -> None:
        request = work.request
        # As the engine cuts a batch: a part for each thread.
        streams = request.threads if request.batch_size % request.threads == 0 else 1
        self._batch_size, self._modes = request.batch_size, modes
        self._command = [str(program), "--bundle", str(work.bundle.folder), "--class", work.class_name]
        self._command += ["--batch", str(request.batch_size // streams), "--streams", str(streams)]
        self._command += ["--threads", str(request.threads), "--precision", precision, "--steps", str(steps)]
        self._command += ["--guidance-scale", repr(request.guidance_scale), "--reference", str(reference)]
        self._command += ["--warmup", "1", "--iterations", "1"]

    def __call__(self) -> tuple[float, None]:
        """Seconds of a batch."""
        return sum(self._batch_size / self.rate(mode) for mode in self._modes), None

    def rate(self, mode: str) -> float:
        """Pictures or steps a second in a mode, after the program's own check."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "record.json"
            command = [*self._command, "--mode", mode, "--json", str(path)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise CytosynthError(
                    f"cyto_bench --mode {mode}",
                    found=" ".join(done.stderr.split()).removeprefix("error: ") or f"exit code {done.returncode}",
                    expected="a record",
                    fix="run it by hand: docs/cpp_bench.md",
                )
            (result,) = json.loads(path.read_text())["results"]
        rate: Any = result["steps_per_second" if mode == "unet" else "pictures_per_second"]
        return float(rate)
