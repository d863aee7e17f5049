"""What a device executes for the table of a sampler: calls of the UNet and of the step graph, by addresses.

The step graph computes D = x - sigma (eps_uncond + g (eps_cond - eps_uncond)) and a x + b D + c D_prev + d z. Its
tensors may lie at any address. So one graph serves every sampler: a simple row is one call. With sigma 0 a call
is a linear combination of three tensors, from which other rows are made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from engine.pipeline.loops import LoopSpec
from engine.sampling.samplers import SamplerPlan, StepRow

__all__ = ["COLUMNS", "Call", "Evaluation", "Tensors", "combined_evaluations", "scaled_rows", "simple_evaluations"]

COLUMNS = ("sigma", "timestep", "c_in", "a", "b", "c", "d", "guidance_scale")
"""The numbers of the step graph's input `row`."""
KEEPS_X = (1.0, 0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Tensors:
    """Addresses of tensors (B, C, h, w) float32 on the device."""

    latents: tuple[int, int]
    """Two tensors (2B, C, h, w), which the UNet can read."""
    eps: int
    """The output of the UNet (2B, C, h, w)."""
    noise: int
    half_bytes: int
    """Distance in bytes of the second half of a tensor (2B, C, h, w)."""
    zero: int
    """A tensor of zeros, which nothing changes."""
    denoised: tuple[int, int]
    states: tuple[int, int] = (0, 0)
    """Two tensors for x. These and the following ones are only needed for rows that are not simple."""
    points: tuple[int, int] = (0, 0)
    past: tuple[int, ...] = ()
    """Five tensors."""
    scratch: tuple[int, int, int] = (0, 0, 0)


@dataclass(frozen=True)
class Call:
    """One execution of the step graph: the addresses of its tensors, and the numbers of its row that are not 0."""

    tensors: Mapping[str, int]
    row: Mapping[str, float]


@dataclass(frozen=True)
class Evaluation:
    """One row of the table: calls of the step graph, the UNet on the latents at an address, and calls again."""

    latents: int
    denoised: int
    """Address of D."""
    after: Sequence[Call]
    before: Sequence[Call] = ()


def scaled_rows(plan: SamplerPlan) -> tuple[StepRow, ...]:
    """Return the table of simple rows for u = c_in x, the input of the UNet, so that a device needs no scaling between
    steps.

    With D' = c_in D and sigma' = c_in sigma: D' = u - sigma' eps and u_next = a' u + b' D' + c' D'_prev + d' z, where
    a' = a k / c_in, b' = b k / c_in, c' = c k / (c_in of the previous row), d' = d k, and k is the next row's c_in, or
    1 in the last row.
    """
    following = [*(row.c_in for row in plan.rows[1:]), 1.0]
    before = [1.0, *(row.c_in for row in plan.rows[:-1])]
    return tuple(
        replace(
            row,
            sigma=row.sigma * row.c_in,
            a=row.a * k / row.c_in,
            b=row.b * k / row.c_in,
            c=row.c * k / last,
            d=row.d * k,
        )
        for row, k, last in zip(plan.rows, following, before, strict=True)
    )


def simple_evaluations(spec: LoopSpec, tensors: Tensors) -> tuple[list[Evaluation], int]:
    """Return what a table of simple rows needs, and the address of the last latents.

    The first latents, times c_in, are expected in both halves of latents[0], and zeros in denoised[1]. The step graph
    runs once for each half that the next step needs.
    """
    found = []
    for i, (row, scale) in enumerate(zip(scaled_rows(spec.plan), spec.scales, strict=True)):
        now, then = tensors.latents[i % 2], tensors.latents[(i + 1) % 2]
        guided_next = i + 1 < len(spec.scales) and spec.scales[i + 1] != 1
        numbers = {name: getattr(row, name) for name in COLUMNS[:-1]} | {"guidance_scale": scale}
        inputs = {
            "x": now,
            **_eps(tensors, scale),
            "D_prev": tensors.denoised[(i + 1) % 2],
            "z": tensors.noise,
            "D": tensors.denoised[i % 2],
        }
        halves = [then, then + tensors.half_bytes] if guided_next else [then]
        found.append(Evaluation(now, inputs["D"], [Call({**inputs, "x_next": half}, numbers) for half in halves]))
    return found, tensors.latents[len(found) % 2]


def combined_evaluations(spec: LoopSpec, tensors: Tensors) -> tuple[list[Evaluation], int]:
    """Return what any table needs, and the address of the last latents. The first latents are expected in states[0]."""
    return _Combining(spec, tensors).evaluations()


def _eps(tensors: Tensors, scale: float) -> dict[str, int]:
    return {"eps_cond": tensors.eps, "eps_uncond": tensors.eps + (0 if scale == 1 else tensors.half_bytes)}


@dataclass
class _Combining:
    """Makes the evaluations one after another, and remembers at which address each vector is."""

    spec: LoopSpec
    tensors: Tensors
    past: list[int] = field(default_factory=list)
    """Addresses of H1, H2 and H3."""

    def evaluations(self) -> tuple[list[Evaluation], int]:
        """Return the evaluations and the address of the last state."""
        tensors, latents = self.tensors, self.tensors.latents[0]
        x = u = tensors.states[0]
        self.past = [tensors.zero] * 3
        found = []
        for row, scale in zip(self.spec.plan.rows, self.spec.scales, strict=True):
            halves = [latents] if scale == 1 else [latents, latents + tensors.half_bytes]
            before = [call for half in halves for call in self._combine(half, [(row.c_in, u)])]
            denoised, kept = [place for place in tensors.past if place not in self.past][:2]
            numbers = {"sigma": row.sigma, "guidance_scale": scale}
            unused = {"D_prev": tensors.zero, "z": tensors.zero, "x_next": tensors.scratch[2]}
            after = [Call({"x": u, **_eps(tensors, scale), **unused, "D": denoised}, numbers)]
            vectors = [x, denoised, *self.past, tensors.noise]
            if row.point is not None:
                point = next(place for place in tensors.points if place != u)
                after += self._combine(point, zip(row.point, vectors, strict=True))
            if not row.keeps_denoised:
                after += self._combine(kept, zip(row.kept, vectors, strict=True))
            if row.x != KEEPS_X:
                x = next(place for place in tensors.states if place != x)
                after += self._combine(x, zip(row.x, vectors, strict=True))
            u = x if row.point is None else point
            self.past = [denoised if row.keeps_denoised else kept, *self.past[:2]]
            found.append(Evaluation(latents, denoised, after, before))
        return found, x

    def _combine(self, target: int, terms: Iterable[tuple[float, int]]) -> list[Call]:
        """Return the calls that write a linear combination of tensors, three terms at first and then two per call."""
        tensors = self.tensors
        left = [(term, place) for term, place in terms if term]
        calls: list[Call] = []
        (first, x), left = (left[0], left[1:]) if left else ((0.0, tensors.zero), left)
        while True:
            (second, y), (third, z) = [*left[:2], (0.0, tensors.zero), (0.0, tensors.zero)][:2]
            left = left[2:]
            # A tensor is never read and written by one call.
            result = target if not left else tensors.scratch[len(calls) % 2]
            places = {"x": x, "D_prev": y, "z": z, "x_next": result, "D": tensors.scratch[2]}
            places |= {"eps_cond": tensors.zero, "eps_uncond": tensors.zero}
            calls.append(Call(places, {"a": first, "c": second, "d": third}))
            if not left:
                return calls
            first, x = 1.0, result
