"""Make k_diffusion.json: what k-diffusion computes, for the tests of engine.sampling.

Run where it is installed: pip install torch scipy tqdm k-diffusion==0.1.1.post1 torchdiffeq torchsde --no-deps;
python tests/golden/make_k_diffusion.py. Its package imports torchvision, which its samplers do not need, so
sampling.py and external.py are loaded by themselves.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import sys
import types
from pathlib import Path

import numpy as np
import torch

ROOT = Path(importlib.metadata.distribution("k-diffusion").locate_file("k_diffusion"))
BETA_START, BETA_END, TIMESTEPS = 0.00085, 0.012, 1000
MEAN, STD = 0.3, 0.7
SAMPLERS = {
    "dpmpp_2m": lambda sampling: sampling.sample_dpmpp_2m,
    "euler": lambda sampling: sampling.sample_euler,
    "euler_a": lambda sampling: sampling.sample_euler_ancestral,
}


def load(name: str) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(f"k_diffusion.{name}", ROOT / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def gaussian_denoiser(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """E[x0 | x] where x0 ~ N(MEAN, STD^2) and x = x0 + sigma eps."""
    return (STD**2 * x + sigma[0] ** 2 * MEAN) / (STD**2 + sigma[0] ** 2)


def main() -> None:
    # k-diffusion makes its grids in torch's default dtype; float64 shows the formulas, not the rounding.
    torch.set_default_dtype(torch.float64)
    package = types.ModuleType("k_diffusion")
    package.__path__ = [str(ROOT)]
    utils = types.ModuleType("k_diffusion.utils")
    utils.append_dims = lambda x, n: x[(...,) + (None,) * (n - x.ndim)]
    sys.modules |= {"k_diffusion": package, "k_diffusion.utils": utils}
    package.utils = utils
    sampling = load("sampling")
    package.sampling = sampling
    external = load("external")

    betas = torch.linspace(BETA_START**0.5, BETA_END**0.5, TIMESTEPS, dtype=torch.float64) ** 2
    abar = torch.cumprod(1 - betas, 0)
    schedule = external.DiscreteSchedule(((1 - abar) / abar) ** 0.5, quantize=False)
    x0 = torch.tensor(np.random.default_rng(0).standard_normal((1, 8)))
    runs = []
    for steps in (2, 5, 20):
        low, high = float(schedule.sigma_min), float(schedule.sigma_max)
        uniform = torch.linspace(TIMESTEPS - 1, 0, steps + 1)[:-1]
        schedules = {
            "karras": sampling.get_sigmas_karras(steps, low, high),
            "exponential": sampling.get_sigmas_exponential(steps, low, high),
            "normal": schedule.get_sigmas(steps),
            "sgm_uniform": sampling.append_zero(schedule.t_to_sigma(uniform)),
        }
        sigmas = schedules["karras"]
        noise = torch.tensor(np.random.default_rng(1).standard_normal((steps, 8)))
        results = {}
        for name, function in SAMPLERS.items():
            draws = iter(noise)
            extra = {"noise_sampler": lambda *_, draws=draws: next(draws)} if name == "euler_a" else {}
            results[name] = function(sampling)(gaussian_denoiser, x0 * sigmas[0], sigmas, disable=True, **extra)
        runs.append(
            {
                "steps": steps,
                "sigmas": {name: values.tolist() for name, values in schedules.items()},
                "timesteps": schedule.sigma_to_t(sigmas[:-1]).tolist(),
                "noise": noise.tolist(),
                "results": {name: result[0].tolist() for name, result in results.items()},
            }
        )
    record = {
        "made_by": "tests/golden/make_k_diffusion.py",
        "versions": {
            "k-diffusion": importlib.metadata.version("k-diffusion"),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "beta_start": BETA_START,
        "beta_end": BETA_END,
        "num_train_timesteps": TIMESTEPS,
        "mean": MEAN,
        "std": STD,
        "noise": x0[0].tolist(),
        "sigma_min": float(schedule.sigma_min),
        "sigma_max": float(schedule.sigma_max),
        "runs": runs,
    }
    Path(__file__).with_name("k_diffusion.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
