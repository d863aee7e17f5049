"""Learned tables: the noise levels and coefficients of a sampler as data, which `python -m trainer table` fits.

S4S (Frankel et al. 2025, arXiv:2502.17423) and LD3 (Tong et al. 2024, arXiv:2405.15506) learn them so that few steps
end where the steps of a teacher end.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from engine.sampling.samplers import SamplerPlan, StepRow
from engine.sampling.schedules import NoiseSchedule

__all__ = ["LEARNED", "MAX_ROWS", "TABLE_FORMAT", "LearnedRow", "LearnedTable"]

LEARNED = "learned"
"""The name of the sampler and of the schedule of a learned table."""
TABLE_FORMAT = "cytosynth-table-1"
"""First field of the file of a learned table."""
MAX_ROWS = 100
LIMIT = 100.0
"""Largest size of a coefficient. The tables of solvers stay below 10."""


@dataclass(frozen=True)
class LearnedRow:
    """One step from x at the noise level sigma: x_next = a x + b D + c D_1 + c2 D_2 + c3 D_3."""

    sigma: float
    timestep: float
    """What the UNet is told about the noise level."""
    guidance_scale: float
    a: float
    b: float
    c: float = 0.0
    c2: float = 0.0
    c3: float = 0.0


@dataclass(frozen=True)
class LearnedTable:
    """The rows of a learned table, from noise to latents."""

    rows: tuple[LearnedRow, ...]

    @classmethod
    def parse(cls, rows: Any, noise: NoiseSchedule) -> LearnedTable:
        """Return the table in rows of JSON. Raises ValueError that says what is wrong with them.

        The levels must descend and lie between the smallest and the largest level of the model, because the UNet was
        not trained on others. A row may use no D from before the first row.
        """
        if not isinstance(rows, Sequence) or isinstance(rows, str) or not 1 <= len(rows) <= MAX_ROWS:
            raise ValueError(f"not a list of 1 to {MAX_ROWS} rows")
        names = LearnedRow.__dataclass_fields__
        found = []
        for place, row in enumerate(rows):
            if not isinstance(row, Mapping) or row.keys() - names or len(names.keys() - row.keys() - {"c", "c2", "c3"}):
                raise ValueError(f"row {place} has other fields than {', '.join(names)}")
            if wrong := [name for name, value in row.items() if not _is_number(value)]:
                raise ValueError(f"row {place}: {wrong[0]} is no finite number")
            found.append(LearnedRow(**{name: float(value) for name, value in row.items()}))
        table = cls(tuple(found))
        if problem := table.wrong(noise):
            raise ValueError(problem)
        return table

    @classmethod
    def of_record(cls, record: Any, noise: NoiseSchedule) -> LearnedTable:
        """Return the table in the content of its file. Raises ValueError that says what is wrong with it."""
        if not isinstance(record, dict) or record.get("format") != TABLE_FORMAT:
            raise ValueError(f"no file of the format {TABLE_FORMAT}")
        return cls.parse(record.get("rows"), noise)

    def wrong(self, noise: NoiseSchedule) -> str:
        """Return what is wrong with the numbers for a model of this noise schedule; an empty text if nothing is."""
        low, high = float(noise.sigmas[0]), float(noise.sigmas[-1])
        last = noise.num_train_timesteps - 1
        for place, row in enumerate(self.rows):
            if not low <= row.sigma <= high * (1 + 1e-9):
                return f"row {place}: sigma {row.sigma:g} is not in {low:g} to {high:g}"
            if not 0 <= row.timestep <= last:
                return f"row {place}: timestep {row.timestep:g} is not in 0 to {last}"
            if not 0 <= row.guidance_scale <= LIMIT:
                return f"row {place}: guidance_scale {row.guidance_scale:g} is not in 0 to {LIMIT:g}"
            if max(map(abs, (row.a, row.b, row.c, row.c2, row.c3))) > LIMIT:
                return f"row {place} has a coefficient above {LIMIT:g}"
            if any(value and place < past for past, value in enumerate((row.c, row.c2, row.c3), 1)):
                return f"row {place} uses a D from before the first row"
        if any(first.sigma <= second.sigma for first, second in pairwise(self.rows)):
            return "the noise levels do not descend"
        return ""

    def first(self, steps: int) -> LearnedTable:
        """Return the first rows, for a measurement of speed."""
        return LearnedTable(self.rows[:steps])

    @property
    def scales(self) -> tuple[float, ...]:
        """The guidance scale of each row."""
        return tuple(row.guidance_scale for row in self.rows)

    def plan(self) -> SamplerPlan:
        """Return the table as the plan of a run."""
        rows = tuple(
            StepRow(
                row.sigma,
                row.timestep,
                float(1 / np.sqrt(row.sigma**2 + 1)),
                a=row.a,
                b=row.b,
                c=row.c,
                d=0.0,
                c2=row.c2,
                c3=row.c3,
            )
            for row in self.rows
        )
        return SamplerPlan(self.rows[0].sigma, rows)

    def as_json(self) -> list[dict[str, float]]:
        """Return the rows as plain values."""
        return [asdict(row) for row in self.rows]

    @property
    def sha256(self) -> str:
        """SHA-256 of the rows."""
        return hashlib.sha256(json.dumps(self.as_json(), sort_keys=True).encode()).hexdigest()


def _is_number(value: Any) -> bool:
    # Infinity and NaN, which Python reads from JSON, are not below the limit.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9
