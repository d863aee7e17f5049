"""Make cpp_tables.json: what the engine and NumPy compute, for cpp_bench's tests of its table and statistics.

Run from the checkout, after make test: .venv/bin/python tests/golden/make_cpp_tables.py
"""

from __future__ import annotations

import json
from dataclasses import astuple
from pathlib import Path
from typing import Any

import numpy as np

from engine.pipeline.device_calls import scaled_rows
from engine.sampling.samplers import SamplerPlan, StepRow, plan_steps
from engine.sampling.schedules import NoiseSchedule, time_features

NOISES = (NoiseSchedule(0.00085, 0.012, 1000), NoiseSchedule(0.002, 0.03, 57))
STEPS = (1, 2, 20)
QUANTILES = (0.0, 0.1, 0.5, 0.9, 0.99, 1.0)


def columns(rows: tuple[StepRow, ...]) -> list[list[float]]:
    """All but d, which is 0 in every row."""
    assert not any(row.d for row in rows)
    return [list(astuple(row)[:6]) for row in rows]


def plan_of(noise: NoiseSchedule, sampler: str, schedule: str, steps: int) -> SamplerPlan:
    return plan_steps(noise, sampler=sampler, schedule=schedule, num_inference_steps=steps)


def make_record() -> dict[str, Any]:
    """The golden values."""
    plans = []
    for noise in NOISES:
        for sampler, schedule in (("dpmpp_2m", "karras"), ("ddim", "leading")):
            for steps in STEPS:
                plan = plan_of(noise, sampler, schedule, steps)
                plans.append({"plan": plan.as_json(), "scaled_rows": columns(scaled_rows(plan))})
    runs = json.loads(Path(__file__).with_name("k_diffusion.json").read_text())["runs"]
    trajectories = [
        {"run": i, "sampler": sampler, "plan": plan_of(NOISES[0], sampler, "karras", run["steps"]).as_json()}
        for i, run in enumerate(runs)
        for sampler in ("dpmpp_2m", "heun", "lms")
    ]
    timesteps, frequencies = np.array([0.0, 3.25, 961.73]), np.exp(np.linspace(0, -9, 12))
    samples = [np.random.default_rng(n).gamma(2, 10, n).tolist() for n in (1, 2, 7, 250)]
    return {
        "made_by": "tests/golden/make_cpp_tables.py",
        "columns": ["sigma", "timestep", "c_in", "a", "b", "c"],
        "plans": plans,
        "trajectories": trajectories,
        "timesteps": timesteps.tolist(),
        "frequencies": frequencies.tolist(),
        "time_features": time_features(timesteps, frequencies).tolist(),
        "statistics": [
            {
                "samples": values,
                "mean": float(np.mean(values)),
                "quantiles": [[q, float(np.quantile(values, q))] for q in QUANTILES],
            }
            for values in samples
        ],
    }


if __name__ == "__main__":
    Path(__file__).with_name("cpp_tables.json").write_text(json.dumps(make_record()) + "\n")
