"""Files of both formats, optimizers beside them, and pickles that contain more than tensors."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from engine.errors import RequestError
from tests.trainer.hypernetwork.examples import KINDS, RECORD, strong
from trainer.base.torch_files import load_plain
from trainer.hypernetwork.files import (
    HypernetworkFile,
    read_hypernetwork,
    read_optimizer,
    write_hypernetwork,
    write_webui,
)
from trainer.hypernetwork.structure import HypernetworkSettings


def same(one, other):
    assert (one.settings, one.dimensions) == (other.settings, other.dimensions)
    assert one.state_dict().keys() == other.state_dict().keys()
    for name, tensor in one.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize("settings", KINDS, ids=lambda s: f"{s.activation}-{s.layer_norm}-{s.layer_structure}")
@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".SAFETENSORS", ".PT"])
def test_a_file_comes_back(suffix, settings, tmp_path):
    file = HypernetworkFile(strong(settings), "cyst", 700, RECORD, "a" * 64, {"sd_checkpoint": "6ce0161689"})
    path = tmp_path / f"h{suffix}"
    (write_hypernetwork if suffix.lower() == ".safetensors" else write_webui)(path, file)
    found = read_hypernetwork(path)
    same(file.hypernetwork, found.hypernetwork)
    assert (found.name, found.step, found.extra) == ("cyst", 700, file.extra)
    if suffix.lower() == ".safetensors":
        assert (found.record, found.base_sha256) == (RECORD, "a" * 64)


def test_the_webuis_keys_number_every_slot(tmp_path):
    settings = HypernetworkSettings(activation="relu", layer_norm=True, dropout_structure=(0, 0.1, 0))
    write_webui(tmp_path / "h.pt", HypernetworkFile(strong(settings, [320]), "x"))
    state = torch.load(tmp_path / "h.pt", weights_only=True)
    # Linear 0, ReLU 1, LayerNorm 2, Dropout 3, Linear 4, LayerNorm 5.
    numbers = [0, 2, 4, 5]
    assert list(state[320][0]) == [f"linear.{i}.{kind}" for i in numbers for kind in ("weight", "bias")]
    assert state["weight_initialization"] == "Normal"
    assert state["dropout_structure"] == [0, 0.1, 0]


def test_absent_keys_have_the_webuis_defaults_and_old_names_are_read(tmp_path):
    weights = {"linear1.weight": torch.ones(16, 8), "linear1.bias": torch.zeros(16)}
    weights |= {"linear2.weight": torch.ones(8, 16), "linear2.bias": torch.zeros(8)}
    torch.save({8: (weights, weights)}, tmp_path / "old.pt")
    found = read_hypernetwork(tmp_path / "old.pt")
    assert found.hypernetwork.settings == HypernetworkSettings(activate_output=True)
    assert (found.name, found.step) == ("old", 0)
    # With the structure 1,2,1, the only inner layer has dropout only with last_layer_dropout.
    torch.save({8: (weights, weights), "use_dropout": True, "activation_func": None}, tmp_path / "dropout.pt")
    assert read_hypernetwork(tmp_path / "dropout.pt").hypernetwork.settings.dropout_structure == (0, 0, 0)
    weights = {name.replace("linear1", "linear.0").replace("linear2", "linear.2"): weights[name] for name in weights}
    torch.save({8: (weights, weights), "use_dropout": True, "last_layer_dropout": True}, tmp_path / "last.pt")
    assert read_hypernetwork(tmp_path / "last.pt").hypernetwork.settings.dropout_structure == (0, 0.3, 0)
    legacy = HypernetworkSettings.legacy_dropout
    assert legacy((1, 2, 2, 2, 1), False) == (0, 0.3, 0.3, 0, 0)
    assert legacy((1, 1), False) == (0, 0)


def test_the_optimizer_comes_back_only_for_its_own_weights(tmp_path):
    hypernetwork = strong()
    optimizer = torch.optim.AdamW(hypernetwork.parameters(), lr=1e-3)
    sum(parameter.sum() for parameter in hypernetwork.parameters()).backward()
    optimizer.step()
    write_webui(tmp_path / "h.pt", HypernetworkFile(hypernetwork, "h"), optimizer.state_dict())
    state = read_optimizer(tmp_path / "h.pt", hypernetwork)
    for i, moments in optimizer.state_dict()["state"].items():
        for name in ("exp_avg", "exp_avg_sq", "step"):
            torch.testing.assert_close(state[i][name], moments[name])
    write_webui(tmp_path / "h.pt", HypernetworkFile(strong(seed=5), "h"))
    assert read_optimizer(tmp_path / "h.pt", hypernetwork) is None


def shorter(state):
    state[0]["exp_avg"] = torch.zeros(1)


def keyless(state):
    del state[1]["exp_avg_sq"]


def fewer(state):
    del state[3]


def plain(state):
    state[0] = 7


@pytest.mark.parametrize("damage", [shorter, keyless, fewer, plain])
def test_an_optimizer_that_does_not_fit_is_refused(damage, tmp_path):
    """torch would read beyond a tensor that is too short."""
    hypernetwork = strong()
    optimizer = torch.optim.AdamW(hypernetwork.parameters(), lr=1e-3)
    sum(parameter.sum() for parameter in hypernetwork.parameters()).backward()
    optimizer.step()
    state = optimizer.state_dict()
    damage(state["state"])
    write_webui(tmp_path / "h.pt", HypernetworkFile(hypernetwork, "h"), state)
    with pytest.raises(RequestError, match="optimizer"):
        read_optimizer(tmp_path / "h.pt", hypernetwork)


class Malice:
    def __reduce__(self):
        import os

        return os.system, ("touch /tmp/cytosynth-was-here",)


@pytest.mark.parametrize("reader", [read_hypernetwork, load_plain])
def test_a_pickle_that_wants_more_than_tensors_is_refused_by_name(reader, in_process, tmp_path):
    path = tmp_path / "evil.pt"
    torch.save({320: Malice()}, path)
    with pytest.raises(RequestError, match=r"posix\.system|os\.system"):
        reader(path)
    path.write_bytes(pickle.dumps({320: Malice()}))
    with pytest.raises(RequestError):
        reader(path)
    done = in_process("trainer", "inspect", path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_random_bytes_and_foreign_dictionaries_are_refused(tmp_path):
    rng = np.random.default_rng(0)
    write_webui(tmp_path / "whole.pt", HypernetworkFile(strong(), "x"))
    whole = np.frombuffer((tmp_path / "whole.pt").read_bytes(), np.uint8)
    read = 0
    for _ in range(60):
        mutated = whole.copy()
        mutated[rng.integers(len(whole), size=3)] = rng.integers(256)
        (tmp_path / "x.pt").write_bytes(mutated.tobytes()[: rng.integers(1, len(whole) + 1)])
        try:
            read_hypernetwork(tmp_path / "x.pt")
            read += 1
        except RequestError:
            pass
    assert read < 60
    for state in ({}, {"a": 1}, [], {8: 3}, {8: ({}, {})}, {8: ({"linear.0.weight": torch.ones(2)},)}):
        torch.save(state, tmp_path / "x.pt")
        with pytest.raises(RequestError):
            read_hypernetwork(tmp_path / "x.pt")
