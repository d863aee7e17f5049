"""Time systems on the same weights and inputs in interleaved rounds, after a check that their results agree.

A system computes one part of a picture: for example the engine on one runtime, diffusers, or cyto_bench. The parts are:

- `picture`: from noise to PNG files, for one batch;
- `step`: one guided evaluation of the UNet;
- `decode`: from latents to pictures.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import CytosynthError, RequestError, first_line
from exporter.parity import LIMITS_BF16, LIMITS_INT8, psnr_db, relative_l2

__all__ = ["INT8_PICTURE_DB", "REFERENCE", "TOLERANCES", "Opened", "System", "compare", "timed"]

Result = NDArray[Any]
REFERENCE = "diffusers float32"
FAILURES = (CytosynthError, ImportError, RuntimeError, MemoryError, OSError)
"""Errors of one system that do not stop the comparison of the others."""
REST_S = 0.3
"""Pause before each timed run. Thread pools spin for a while after their work and would slow down the next system in
this process. Intel's OpenMP spins longest, for 0.2 s."""
TOLERANCES = {
    "picture": LIMITS_BF16["psnr_db"],
    "step": 0.04,
    "decode": LIMITS_BF16["psnr_db"],
}
"""Required agreement with diffusers in float32: minimum PSNR (dB) for pictures, maximum relative L2 error for a UNet
step. The limit for pictures is the limit of `exporter verify` for bfloat16."""
INT8_PICTURE_DB = LIMITS_INT8["psnr_db"]
"""Minimum PSNR (dB) for pictures that 8-bit graphs denoised. Early rounding may lead to a different, equally good
picture."""


@dataclass(frozen=True)
class System:
    """A system to time.

    program: what computes it, such as "engine"; a program may offer several systems.
    run: computes the part once and returns seconds and the result. The result is None if the system checks itself.
    deviation: for a system that checks itself, the words for its agreement.
    tolerance: replaces the tolerance of the part.
    reference: name of the system whose result this one must have.
    warms_up: whether each run already includes a warm-up that is not timed.
    """

    name: str
    program: str
    run: Callable[[], tuple[float, Result | None]]
    deviation: str | None = None
    tolerance: float | None = None
    reference: str = REFERENCE
    warms_up: bool = False


@dataclass
class Opened:
    """The systems to compare, and the reasons why others are not measured. chosen: prefixes of the systems to keep."""

    chosen: Sequence[str] = ("",)
    systems: list[System] = field(default_factory=list)
    not_measured: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, make: Callable[[], System]) -> None:
        """Open a system. If a package, a compiler or memory is missing, keep the reason."""
        if name != REFERENCE and not name.startswith(tuple(self.chosen)):
            self.not_measured[name] = "not selected by --system"
            return
        try:
            self.systems.append(make())
        except FAILURES as error:
            self.not_measured[name] = _reason(error)

    def expect_chosen(self) -> None:
        """Raise RequestError if no name begins with one of `chosen`."""
        names = [*(system.name for system in self.systems), *self.not_measured]
        for beginning in self.chosen:
            if not any(name.startswith(beginning) for name in names):
                raise RequestError(
                    "--system",
                    found=beginning,
                    expected=f"the beginning of one of {', '.join(names)}",
                    fix="change the name",
                )


def timed(work: Callable[[], Result]) -> Callable[[], tuple[float, Result | None]]:
    """Return a function that runs `work` and returns its wall-clock seconds and its result."""

    def run() -> tuple[float, Result | None]:
        began = time.perf_counter()
        result = work()
        return time.perf_counter() - began, result

    return run


def compare(
    opened: Opened, part: str, *, rounds: int, cap_s: float, alongside: Sequence[System] = ()
) -> dict[str, Any]:
    """Compare the results of all systems with those of their references, and time the systems that agree.

    The first run of each system is its warm-up and gives the result to compare. In each round the systems take turns,
    and the order rotates by one. A run without timing precedes each timed run, because the pause and the other systems
    have cooled the caches, which are warm in a run of thousands of pictures.

    Args:
        opened: The systems. Systems that fail are added to its `not_measured`.
        part: The part that the systems compute.
        rounds: Number of rounds.
        cap_s: A system that needs more seconds than this takes part in only one round.
        alongside: Other things to time in the same rounds, such as a matrix product.

    Returns `program`, `seconds` (raw), `alongside_seconds`, `deviation`, `refused` and `not_measured`, each by name.
    Raises CytosynthError if REFERENCE has no result.
    """
    results: dict[str, Result | None] = {}
    for system in [*opened.systems, *alongside]:
        print(f"{part}: {system.name}, warm-up", file=sys.stderr)
        try:
            results[system.name] = system.run()[1]
        except FAILURES as error:
            opened.not_measured[system.name] = _reason(error)
    if results.get(REFERENCE) is None:
        raise CytosynthError(
            f"The reference, {REFERENCE}",
            found=opened.not_measured.get(REFERENCE, "not among the systems"),
            expected="a result to compare the others with",
            fix="read the message of the reference above",
        )
    deviation: dict[str, float | str] = {}
    refused: dict[str, str] = {}
    ran = [system for system in opened.systems if system.name in results]
    for system in ran:
        result = results[system.name]
        if system.deviation is not None:
            deviation[system.name] = system.deviation
        elif result is not None and system.name != system.reference:
            reference = results.get(system.reference)
            if reference is None:
                refused[system.name] = f"{system.reference} has no result to compare with"
                continue
            limit = TOLERANCES[part] if system.tolerance is None else system.tolerance
            agrees, deviation[system.name] = _agreement(part, result, reference, limit)
            if not agrees:
                refused[system.name] = f"{deviation[system.name]:.3g}, limit {limit:g}"
                print(f"{part}: {system.name} differs and is not timed: {refused[system.name]}", file=sys.stderr)
    taken = [one for one in ran if one.name not in refused]
    timed_too = [one for one in alongside if one.name in results]
    seconds = _interleaved([*taken, *timed_too], rounds, cap_s, opened.not_measured)
    beside = {one.name for one in alongside}
    return {
        "program": {one.name: one.program for one in taken if one.name in seconds},
        "seconds": {name: found for name, found in seconds.items() if name not in beside},
        "alongside_seconds": {name: found for name, found in seconds.items() if name in beside},
        "deviation": deviation,
        "refused": refused,
        "not_measured": dict(opened.not_measured),
    }


def _interleaved(
    systems: Sequence[System], rounds: int, cap_s: float, failed: dict[str, str]
) -> Mapping[str, list[float]]:
    """Return the raw seconds by name. A system that fails goes to `failed` with the reason; the others continue."""
    seconds: dict[str, list[float]] = {system.name: [] for system in systems}
    for number in range(rounds):
        place = number % max(1, len(systems))
        for system in (*systems[place:], *systems[:place]):
            found = seconds[system.name]
            if system.name not in failed and (not found or found[-1] <= cap_s):
                time.sleep(REST_S)
                try:
                    if not system.warms_up:
                        system.run()
                    found.append(round(system.run()[0], 5))
                except FAILURES as error:
                    failed[system.name] = _reason(error)
        print(f"round {number + 1} of {rounds}", file=sys.stderr)
    return {name: found for name, found in seconds.items() if name not in failed}


def _agreement(part: str, found: Result, wanted: Result, limit: float) -> tuple[bool, float]:
    """Return whether a result is within the tolerance, and the PSNR in dB (for `step` the relative L2 norm)."""
    if part == "step":
        relative = relative_l2(found.astype(np.float64), wanted)
        return relative <= limit, relative
    psnr = psnr_db(found.astype(np.float64) - wanted)
    return psnr >= limit, psnr


def _reason(error: Exception) -> str:
    if isinstance(error, CytosynthError):
        return f"{error.subject}: {error.found} ({error.fix})"
    return first_line(error)
