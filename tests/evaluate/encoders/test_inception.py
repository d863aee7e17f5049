"""Inception's features against torch-fidelity's on the same weights."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.errors import RequestError
from engine.files import sha256_of
from evaluate.encoders.inception import LAYERS, Inception, resize, weight_shapes
from evaluate.encoders.inception_weights import (
    ExpectedFile,
)
from tests.conftest import ROOT

GOLDEN = json.loads((ROOT / "tests/golden" / "torch_fidelity.json").read_text())["inception"]


CASES = [pytest.param(case, id=" x ".join(map(str, case["shape"]))) for case in GOLDEN["cases"]]


def random_weights(seed: int) -> dict[str, np.ndarray]:
    """Draw the same values as tests/golden/make_torch_fidelity.py."""
    rng = np.random.default_rng(seed)
    shapes, drawn = weight_shapes(), {}
    for name in sorted(shapes):
        x = rng.standard_normal(shapes[name], dtype=np.float32)
        if name.endswith("conv.weight"):
            x *= np.float32(np.sqrt(2 / np.prod(shapes[name][1:])))
        elif name.endswith("bn.weight"):
            x = 1 + np.float32(0.1) * x
        elif name.endswith("running_var"):
            x = np.exp(np.float32(0.1) * x)
        else:
            x *= np.float32(0.05)
        drawn[name] = x
    return drawn


def pictures(seed: int, count: int, height: int, width: int, channels: int = 3) -> np.ndarray:
    """Draw the same values as tests/golden/make_torch_fidelity.py."""
    rng = np.random.default_rng(seed)
    squares = rng.integers(16, 240, (count, -(-height // 16), -(-width // 16), channels))
    plane = squares.repeat(16, axis=1).repeat(16, axis=2)[:, :height, :width]
    return (plane + rng.integers(-16, 16, plane.shape)).astype(np.uint8)


def save(state: object, path: Path) -> ExpectedFile:
    torch.save(state, path)
    return ExpectedFile(path.stat().st_size, sha256_of(path))


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest difference, relative to the largest value."""
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.fixture(scope="module")
def inception(tmp_path_factory: pytest.TempPathFactory) -> Inception:
    path = tmp_path_factory.mktemp("inception") / "weights.pth"
    state = {name: torch.from_numpy(x) for name, x in random_weights(GOLDEN["weights_seed"]).items()}
    # The file of a trained network also holds these counters.
    state |= {name.replace("running_var", "num_batches_tracked"): torch.tensor(0) for name in state if "_var" in name}
    network = Inception(path, save(state, path))
    path.unlink()
    return network


@pytest.mark.parametrize("case", CASES)
def test_every_layer_agrees_with_torch_fidelity(inception, case):
    found = inception(pictures(case["seed"], *case["shape"]))
    assert tuple(found) == LAYERS == tuple(case["features"])
    for layer, expected in case["features"].items():
        assert found[layer].dtype == np.float32
        for row, golden in zip(found[layer], expected, strict=True):
            assert difference(row[:8], np.array(golden["first"])) < 1e-5
            assert difference(row[::97], np.array(golden["every_97th"])) < 1e-5
            assert np.linalg.norm(row.astype(np.float64)) == pytest.approx(golden["norm"], rel=1e-6)


def test_names_and_shapes_are_those_of_the_published_file():
    shapes = weight_shapes()
    listing = "".join(f"{name} {list(shapes[name])}\n" for name in sorted(shapes))
    assert len(shapes) == GOLDEN["tensors"]
    assert hashlib.sha256(listing.encode()).hexdigest() == GOLDEN["listing_sha256"]


def test_features_do_not_depend_on_the_batch_and_repeat_to_the_bit(inception):
    batch = pictures(7, 5, 64, 96)
    together = inception(batch)
    again = inception(batch)
    parts = [inception(part) for part in (batch[:1], batch[1:4], batch[4:])]
    for layer in LAYERS:
        assert np.array_equal(together[layer], again[layer])
        assert difference(np.concatenate([part[layer] for part in parts]), together[layer]) < 1e-5


@pytest.mark.parametrize(("height", "width"), [(40, 48), (299, 299), (700, 333), (1, 5)])
def test_resize_equals_that_of_tensorflow_1(height, width):
    """Compare pixels with the definition, computed in float64."""
    picture = pictures(8, 1, height, width)
    found = resize(picture)
    assert found.shape == (1, 299, 299, 3)
    assert found.dtype == np.float32
    source = picture[0].astype(np.float64)
    for i, j in np.random.default_rng(9).integers(0, 299, (50, 2)):
        y, x = i * height / 299, j * width / 299
        top, left = int(y), int(x)
        bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
        dy, dx = y - top, x - left
        above = source[top, left] * (1 - dx) + source[top, right] * dx
        below = source[bottom, left] * (1 - dx) + source[bottom, right] * dx
        assert found[0, i, j] == pytest.approx(above * (1 - dy) + below * dy, abs=0.02)


def test_resize_keeps_the_networks_own_size():
    picture = pictures(10, 1, 299, 299)
    assert np.array_equal(resize(picture), picture)


def test_importing_loads_no_torch_and_no_telemetry():
    code = "import evaluate.encoders.inception, sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "openvino" in loaded
    assert not {name for name in loaded if name == "torch" or name.startswith("openvino_telemetry.")}


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "weights.pth"
    state = {name: torch.zeros(1).expand(shape) for name, shape in weight_shapes().items()}
    state["fc.bias"] = torch.zeros(1000)
    expect = save(state, path)
    with pytest.raises(RequestError, match=r"1 tensors that differ; fc.bias is \(1000,\)[\s\S]*fc.bias \(1008,\)"):
        Inception(path, expect)
    del state["fc.bias"]
    state["AuxLogits.fc.bias"] = torch.zeros(3)
    expect = save(state, path)
    with pytest.raises(RequestError, match=r"2 tensors that differ; AuxLogits\.fc\.bias"):
        Inception(path, expect)
    expect = save([torch.zeros(1)], path)
    with pytest.raises(RequestError, match="state dict of tensors"):
        Inception(path, expect)
