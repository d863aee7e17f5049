"""Make k_diffusion.json: what k-diffusion computes, for the tests of engine.sampling.

Run where it is installed: pip install torch scipy tqdm k-diffusion==0.1.1.post1 torchdiffeq torchsde --no-deps;
python tests/golden/make_k_diffusion.py. Its package imports torchvision, which its samplers do not need, so
sampling.py and external.py are loaded by themselves.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import inspect
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
    "dpmpp_2m": "dpmpp_2m",
    "euler": "euler",
    "euler_a": "euler_ancestral",
    "heun": "heun",
    "dpm2": "dpm_2",
    "dpm2_a": "dpm_2_ancestral",
    "lms": "lms",
    "dpmpp_2s_a": "dpmpp_2s_ancestral",
    "dpmpp_sde": "dpmpp_sde",
    "dpmpp_2m_sde": "dpmpp_2m_sde",
    "dpmpp_2m_sde_heun": "dpmpp_2m_sde",
    "dpmpp_3m_sde": "dpmpp_3m_sde",
    "dpm_fast": "dpm_fast",
}
"""k-diffusion's name of each sampler."""


def load(name: str) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(f"k_diffusion.{name}", ROOT / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def gaussian_denoiser(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """E[x0 | x] where x0 ~ N(MEAN, STD^2) and x = x0 + sigma eps."""
    return (STD**2 * x + sigma[0] ** 2 * MEAN) / (STD**2 + sigma[0] ** 2)


class Brownian:
    """A Brownian motion over descending sigmas, made from given normal numbers: the noise of samplers that add some."""

    def __init__(self, noise: torch.Tensor) -> None:
        self.left, self.known = iter(noise), {}

    def __call__(self, sigma: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
        """Return W(following) - W(sigma), scaled to variance 1."""
        start, end = float(sigma), float(following)
        now = self.at(start)
        return (self.at(end) - now) / (start - end) ** 0.5

    def at(self, sigma: float) -> torch.Tensor | float:
        for level, value in self.known.items():
            if abs(level - sigma) < 1e-9 * sigma:
                return value
        last = min(self.known, default=None)
        self.known[sigma] = 0.0 if last is None else self.known[last] + (last - sigma) ** 0.5 * next(self.left)
        return self.known[sigma]


def draw(sampling: types.ModuleType, name: str, x: torch.Tensor, sigmas: torch.Tensor, noise: torch.Tensor):
    """Return what a sampler makes of x."""
    function = getattr(sampling, f"sample_{SAMPLERS[name]}")
    parameters = inspect.signature(function).parameters
    options = {"noise_sampler": Brownian(noise)} if "noise_sampler" in parameters else {}
    if name == "dpmpp_2m_sde_heun":
        options["solver_type"] = "heun"
    if name == "dpm_fast":
        levels = {"sigma_min": float(sigmas[-2]), "sigma_max": float(sigmas[0]), "n": len(sigmas) - 1}
        # Its denoiser sees one sigma without a batch, and its noise belongs to eta 1, as in the WebUI.
        return function(gaussian_denoiser, x, **levels, disable=True, eta=1.0, **options)
    return function(gaussian_denoiser, x, sigmas, disable=True, **options)


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
            "polyexponential": sampling.get_sigmas_polyexponential(steps, low, high),
        }
        sigmas = schedules["karras"]
        noise = torch.tensor(np.random.default_rng(1).standard_normal((2 * steps, 8)))
        results = {name: draw(sampling, name, x0 * sigmas[0], sigmas, noise) for name in SAMPLERS}
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
