"""Make torch_fidelity.json: what torch-fidelity computes, for the tests of evaluate.frechet and evaluate.kernel.

Run where it is installed: pip install torch tqdm numpy; pip install --no-deps torch-fidelity==0.4.0;
python tests/golden/make_torch_fidelity.py. Its package imports torchvision, which its two formulas do not need, so
metric_fid.py and metric_kid.py are loaded by themselves, with helpers.py and without utils.py.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import sys
import types
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import torch

ROOT = Path(importlib.metadata.distribution("torch-fidelity").locate_file("torch_fidelity"))


def load(name: str) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(f"torch_fidelity.{name}", ROOT / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def samples(seed: int, n: int, dimension: int) -> tuple[np.ndarray, np.ndarray]:
    """Two correlated samples; tests/evaluate draws the same."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((dimension, dimension))
    first = rng.standard_normal((n, dimension)) @ mixing
    return first, 0.8 * rng.standard_normal((n, dimension)) @ mixing + 0.3


def main() -> None:
    package = types.ModuleType("torch_fidelity")
    package.__path__ = [str(ROOT)]
    sys.modules["torch_fidelity"] = package
    sys.modules["torch_fidelity.utils"] = MagicMock()
    load("helpers")
    fid, kid = load("metric_fid"), load("metric_kid")
    cases = []
    for seed, n, dimension in ((0, 40, 8), (1, 60, 16), (2, 24, 32)):
        first, second = (torch.from_numpy(sample) for sample in samples(seed, n, dimension))
        statistics = [fid.fid_features_to_statistics(sample) for sample in (first, second)]
        distance = fid.fid_statistics_to_metric(*statistics, verbose=False)[fid.KEY_METRIC_FID]
        # One subset of every picture is the whole U-statistic.
        settings = {"kid_subsets": 1, "kid_subset_size": n, "kid_kernel": "poly", "verbose": False}
        kernel = kid.kid_features_to_metric(first, second, **settings)[kid.KEY_METRIC_KID_MEAN]
        cases.append({"seed": seed, "n": n, "dimension": dimension, "frechet": distance, "kernel": kernel})
    versions = {"torch-fidelity": importlib.metadata.version("torch-fidelity"), "numpy": np.__version__}
    record = {"made_by": "tests/golden/make_torch_fidelity.py", "versions": versions, "cases": cases}
    Path(__file__).with_name("torch_fidelity.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
