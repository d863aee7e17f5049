"""Make torch_fidelity.json: what torch-fidelity computes, for the tests of evaluate.

Run where it is installed: pip install torch tqdm numpy; pip install --no-deps torch-fidelity==0.4.0;
python tests/golden/make_torch_fidelity.py. Its package imports torchvision, which the modules used here do not need, so
they are loaded by themselves, without utils.py.

The tests draw the same inputs from the same seeds, as RECIPES says.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import sys
import tempfile
import types
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import torch

ROOT = Path(importlib.metadata.distribution("torch-fidelity").locate_file("torch_fidelity"))
RECIPES = {
    "cases": "first, second = samples(seed, n, dimension)",
    "frechet_2048": "first, second = two_samples(seed, n, dimension)",
    "kid_subsets": "first, second = two_samples(seed, n, dimension); each subset by one RandomState(rng_seed)",
    "precision_recall": "fake, real = two_samples(seed, n, dimension)",
    "inception_score": "logits = 3 * default_rng(seed).standard_normal((n, dimension))",
    "inception": "weights(weights_seed, shapes by name); pictures(seed, *shape)",
}
"""How the inputs of each list are drawn, by the functions below."""
WEIGHTS_SEED = 20151205
PICTURES = ((0, (3, 40, 48)), (1, (1, 512, 512)), (2, (2, 299, 299)), (3, (1, 700, 333)))
"""Seed and (B, H, W) for `pictures`."""


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


def two_samples(seed: int, n: int, dimension: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two uncorrelated samples, the second shifted and narrower."""
    rng = np.random.default_rng(seed)
    first = rng.standard_normal((n, dimension))
    return torch.from_numpy(first), torch.from_numpy(0.8 * rng.standard_normal((n, dimension)) + 0.1)


def weights(seed: int, shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Float32 weights in the order of the sorted names, such that activations neither vanish nor grow: He-normal
    convolutions, batch norms near the identity, a linear layer of standard deviation 0.05."""
    rng = np.random.default_rng(seed)
    drawn = {}
    for name in sorted(shapes):
        shape = shapes[name]
        x = rng.standard_normal(shape, dtype=np.float32)
        if name.endswith("conv.weight"):
            x *= np.float32(np.sqrt(2 / np.prod(shape[1:])))
        elif name.endswith("bn.weight"):
            x = 1 + np.float32(0.1) * x
        elif name.endswith("running_var"):
            x = np.exp(np.float32(0.1) * x)
        else:
            x *= np.float32(0.05)
        drawn[name] = x
    return drawn


def pictures(seed: int, count: int, height: int, width: int, channels: int = 3) -> np.ndarray:
    """Flat squares of 16 pixels with a little noise, so that pictures differ at every depth of a network."""
    rng = np.random.default_rng(seed)
    squares = rng.integers(16, 240, (count, -(-height // 16), -(-width // 16), channels))
    plane = squares.repeat(16, axis=1).repeat(16, axis=2)[:, :height, :width]
    return (plane + rng.integers(-16, 16, plane.shape)).astype(np.uint8)


def distances() -> list[dict]:
    fid, kid = sys.modules["torch_fidelity.metric_fid"], sys.modules["torch_fidelity.metric_kid"]
    cases = []
    for seed, n, dimension in ((0, 40, 8), (1, 60, 16), (2, 24, 32)):
        first, second = (torch.from_numpy(sample) for sample in samples(seed, n, dimension))
        statistics = [fid.fid_features_to_statistics(sample) for sample in (first, second)]
        distance = fid.fid_statistics_to_metric(*statistics, verbose=False)[fid.KEY_METRIC_FID]
        # One subset of every picture is the whole U-statistic.
        settings = {"kid_subsets": 1, "kid_subset_size": n, "kid_kernel": "poly", "verbose": False}
        kernel = kid.kid_features_to_metric(first, second, **settings)[kid.KEY_METRIC_KID_MEAN]
        cases.append({"seed": seed, "n": n, "dimension": dimension, "frechet": distance, "kernel": kernel})
    return cases


def frechet_2048() -> list[dict]:
    fid = sys.modules["torch_fidelity.metric_fid"]
    case = {"seed": 10, "n": 100, "dimension": 2048}
    statistics = [fid.fid_features_to_statistics(sample) for sample in two_samples(**case)]
    return [case | {"frechet": fid.fid_statistics_to_metric(*statistics, verbose=False)[fid.KEY_METRIC_FID]}]


def kid_subsets() -> list[dict]:
    kid = sys.modules["torch_fidelity.metric_kid"]
    cases = []
    for case, subsets, size in (
        ({"seed": 20, "n": 60, "dimension": 64}, 10, 20),
        ({"seed": 21, "n": 100, "dimension": 2048}, 10, 50),
    ):
        settings = {"kid_subsets": subsets, "kid_subset_size": size, "rng_seed": 2020}
        found = kid.kid_features_to_metric(*two_samples(**case), **settings, verbose=False)
        cases.append(case | settings | {"mean": found[kid.KEY_METRIC_KID_MEAN], "std": found[kid.KEY_METRIC_KID_STD]})
    return cases


def precision_recall() -> list[dict]:
    prc = sys.modules["torch_fidelity.metric_prc"]
    cases = []
    for case, neighborhood in (
        ({"seed": 30, "n": 80, "dimension": 8}, 3),
        ({"seed": 31, "n": 100, "dimension": 64}, 3),
        ({"seed": 32, "n": 120, "dimension": 16}, 5),
    ):
        settings = {"prc_neighborhood": neighborhood, "save_cpu_ram": False}
        found = prc.prc_features_to_metric(*two_samples(**case), **settings, verbose=False)
        results = {"precision": found[prc.KEY_METRIC_PRECISION], "recall": found[prc.KEY_METRIC_RECALL]}
        cases.append(case | {"prc_neighborhood": neighborhood} | results)
    return cases


def inception_score() -> list[dict]:
    isc = sys.modules["torch_fidelity.metric_isc"]
    cases = []
    for case in ({"seed": 40, "n": 100, "dimension": 1008}, {"seed": 41, "n": 103, "dimension": 10}):
        logits = torch.from_numpy(np.random.default_rng(case["seed"]).standard_normal((case["n"], case["dimension"])))
        for splits in (1, 10):
            for shuffle in (True, False):
                settings = {"splits": splits, "shuffle": shuffle, "rng_seed": 2020}
                found = isc.isc_features_to_metric(3 * logits, **settings)
                results = {"mean": found[isc.KEY_METRIC_ISC_MEAN], "std": found[isc.KEY_METRIC_ISC_STD]}
                cases.append(case | settings | results)
    return cases


def inception() -> dict:
    """Every layer's features of a few pictures by random weights: the first 8, every 97th, and the norm, by picture."""
    module = sys.modules["torch_fidelity.feature_extractor_inceptionv3"]
    extractor = module.FeatureExtractorInceptionV3
    layers = list(extractor.get_provided_features_list())

    class Unloaded(extractor):
        def load_state_dict(self, *_: object) -> None:
            """The names and shapes are needed before there can be a file of weights."""

    module.load_state_dict_from_url = MagicMock()
    state = Unloaded("unloaded", layers).state_dict()
    # What counts batches in training has no part in the features, and torch fills it in where a file lacks it.
    shapes = {name: tuple(x.shape) for name, x in state.items() if not name.endswith("num_batches_tracked")}
    listing = "".join(f"{name} {list(shapes[name])}\n" for name in sorted(shapes))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.pth"
        torch.save({name: torch.from_numpy(x) for name, x in weights(WEIGHTS_SEED, shapes).items()}, path)
        network = extractor("loaded", layers, feature_extractor_weights_path=str(path))
    cases = []
    for seed, (count, height, width) in PICTURES:
        found = network(torch.from_numpy(pictures(seed, count, height, width)).permute(0, 3, 1, 2))
        features = {
            layer: [
                {"first": x[:8].tolist(), "every_97th": x[::97].tolist(), "norm": x.double().norm().item()} for x in of
            ]
            for layer, of in network.convert_features_tuple_to_dict(found).items()
        }
        cases.append({"seed": seed, "shape": [count, height, width, 3], "features": features})
    return {
        "weights_seed": WEIGHTS_SEED,
        "tensors": len(shapes),
        "listing_sha256": hashlib.sha256(listing.encode()).hexdigest(),
        "cases": cases,
    }


def main() -> None:
    package = types.ModuleType("torch_fidelity")
    package.__path__ = [str(ROOT)]
    sys.modules["torch_fidelity"] = package
    sys.modules["torch_fidelity.utils"] = MagicMock()
    for name in ("helpers", "metric_fid", "metric_kid", "metric_isc", "metric_prc", "feature_extractor_inceptionv3"):
        load(name)
    record = {
        "made_by": "tests/golden/make_torch_fidelity.py",
        "versions": {
            "torch-fidelity": importlib.metadata.version("torch-fidelity"),
            "numpy": np.__version__,
            "torch": torch.__version__,
        },
        "recipes": RECIPES,
        "cases": distances(),
        "frechet_2048": frechet_2048(),
        "kid_subsets": kid_subsets(),
        "precision_recall": precision_recall(),
        "inception_score": inception_score(),
        "inception": inception(),
    }
    Path(__file__).with_name("torch_fidelity.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
