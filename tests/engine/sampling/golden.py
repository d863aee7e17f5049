"""Reference values of k-diffusion, and the noise schedule that they belong to."""

from __future__ import annotations

import json

import pytest

from engine.sampling.schedules import NoiseSchedule
from tests.conftest import ROOT

GOLDEN = json.loads((ROOT / "tests/golden" / "k_diffusion.json").read_text())
NOISE = NoiseSchedule(GOLDEN["beta_start"], GOLDEN["beta_end"], GOLDEN["num_train_timesteps"])
RUNS = [pytest.param(run, id=f"{run['steps']} steps") for run in GOLDEN["runs"]]
