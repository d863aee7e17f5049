"""`bench`: systems on the same weights and inputs, timed in interleaved rounds after a check that their results agree.

A system is anything that computes one part of a picture: the engine on some runtime, diffusers, cyto_bench. What is
timed of them:

- `picture`: noise to PNG files, a batch;
- `step`: one guided evaluation of the UNet;
- `decode`: latents to pictures.
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

__all__ = ["INT8_PICTURE_DB", "PARTS", "REFERENCE", "TOLERANCES", "Opened", "System", "compare", "timed"]

PARTS = ("picture", "step", "decode")
Result = NDArray[Any]
REFERENCE = "diffusers float32"
FAILURES = (CytosynthError, ImportError, RuntimeError, MemoryError, OSError)
"""Of a system, that leave the others to be compared."""
REST_S = 0.3
"""Before each timed run. Thread pools spin for a while after their work, in the way of the next system's in this
process; Intel's OpenMP, with 0.2 s, the longest."""
TOLERANCES = {
    "picture": LIMITS_BF16["psnr_db"],
    "step": 0.04,
    "decode": LIMITS_BF16["psnr_db"],
}
"""What is left of agreement with diffusers in float32: the least PSNR of pictures in dB, and the largest L2 norm
of the UNet's error over that of its output. That of pictures is `verify`'s limit for bfloat16."""
INT8_PICTURE_DB = LIMITS_INT8["psnr_db"]
"""The same of pictures whose noise 8-bit graphs took away: a rounding early on may lead to another picture, as good."""


@dataclass(frozen=True)
class System:
    """`run` computes once: seconds, and the result, or None where the system compares its own and says `deviation`.

    tolerance: in place of the part's. warms_up: a run begins with one that does not count.
    """

    name: str
    run: Callable[[], tuple[float, Result | None]]
    deviation: str | None = None
    tolerance: float | None = None
    warms_up: bool = False


@dataclass
class Opened:
    """The systems that are here, and why the others are not. `chosen`: beginnings of names; others are left out."""

    chosen: Sequence[str] = ("",)
    systems: list[System] = field(default_factory=list)
    not_measured: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, make: Callable[[], System]) -> None:
        """Open one. What it refuses, for want of a package, a compiler or memory, is kept as the reason."""
        if name != REFERENCE and not name.startswith(tuple(self.chosen)):
            self.not_measured[name] = "left out, as asked"
            return
        try:
            self.systems.append(make())
        except FAILURES as error:
            self.not_measured[name] = _reason(error)

    def expect_chosen(self) -> None:
        """Raise RequestError where nothing begins with one of `chosen`."""
        names = [*(system.name for system in self.systems), *self.not_measured]
        for beginning in self.chosen:
            if not any(name.startswith(beginning) for name in names):
                raise RequestError(
                    "--system",
                    found=beginning,
                    expected=f"the beginning of one of {', '.join(names)}",
                    fix="change it",
                )


def timed(work: Callable[[], Result]) -> Callable[[], tuple[float, Result | None]]:
    """Take the wall clock of a function."""

    def run() -> tuple[float, Result | None]:
        began = time.perf_counter()
        result = work()
        return time.perf_counter() - began, result

    return run


def compare(
    opened: Opened, part: str, *, rounds: int, cap_s: float, alongside: Sequence[System] = ()
) -> dict[str, Any]:
    """Seconds of each system, raw. A warm-up run of each is compared with the reference's, and one that differs beyond
    the tolerance is not timed; the order of every round is turned by one. A run that counts follows one that does not,
    since the rest and the systems between have cooled caches that are warm in a run of thousands. A system that needs
    more than `cap_s` is not asked for another round.

    alongside: what is timed in the same rounds but is no system, such as a matrix product.
    Returns `seconds`, `alongside_seconds`, `deviation`, `refused` and `not_measured`, each by name. Raises
    CytosynthError where there is no reference to compare with.
    """
    results: dict[str, Result | None] = {}
    for system in [*opened.systems, *alongside]:
        print(f"{part}: {system.name}, warm-up", file=sys.stderr)
        try:
            results[system.name] = system.run()[1]
        except FAILURES as error:
            opened.not_measured[system.name] = _reason(error)
    reference = results.get(REFERENCE)
    if reference is None:
        raise CytosynthError(
            f"The reference, {REFERENCE}",
            found=opened.not_measured.get(REFERENCE, "not among the systems"),
            expected="a result that the others are compared with",
            fix="see its own message",
        )
    deviation: dict[str, float | str] = {}
    refused: dict[str, str] = {}
    ran = [system for system in opened.systems if system.name in results]
    for system in ran:
        result = results[system.name]
        if system.deviation is not None:
            deviation[system.name] = system.deviation
        elif result is not None and system.name != REFERENCE:
            limit = TOLERANCES[part] if system.tolerance is None else system.tolerance
            agrees, deviation[system.name] = _agreement(part, result, reference, limit)
            if not agrees:
                refused[system.name] = f"{deviation[system.name]:.3g} against {limit:g}, the limit"
                print(f"{part}: {system.name} differs and is not timed: {refused[system.name]}", file=sys.stderr)
    taken = [one for one in ran if one.name not in refused]
    timed_too = [one for one in alongside if one.name in results]
    seconds = _interleaved([*taken, *timed_too], rounds, cap_s, opened.not_measured)
    beside = {one.name for one in alongside}
    return {
        "seconds": {name: found for name, found in seconds.items() if name not in beside},
        "alongside_seconds": {name: found for name, found in seconds.items() if name in beside},
        "deviation": deviation,
        "refused": refused,
        "not_measured": dict(opened.not_measured),
    }


def _interleaved(
    systems: Sequence[System], rounds: int, cap_s: float, failed: dict[str, str]
) -> Mapping[str, list[float]]:
    """What fails goes to `failed`, with the reason, and loses its seconds; the others go on."""
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
    """Whether a result is within the tolerance, and the figure: PSNR in dB, or for `step` the relative L2 norm."""
    if part == "step":
        relative = relative_l2(found.astype(np.float64), wanted)
        return relative <= limit, relative
    psnr = psnr_db(found.astype(np.float64) - wanted)
    return psnr >= limit, psnr


def _reason(error: Exception) -> str:
    if isinstance(error, CytosynthError):
        return f"{error.subject}: {error.found} ({error.fix})"
    return first_line(error)
