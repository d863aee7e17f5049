"""Hypernetworks: exact merging of every kind, chains, files of both formats, pickles that want more than tensors."""

from __future__ import annotations

import copy
import json
import pickle
import shutil

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline
from torch import nn

from engine.bundle.folder import open_bundle
from engine.errors import CytosynthError, RequestError
from trainer.base.base import PRESETS, Base, digest_of
from trainer.hypernetwork.files import (
    HypernetworkFile,
    load_plain,
    read_hypernetwork,
    read_optimizer,
    write_hypernetwork,
    write_webui,
)
from trainer.hypernetwork.merge import RESIDUALS_FILE, merge, merge_into, stacks_attached
from trainer.hypernetwork.network import Hypernetwork, attached
from trainer.hypernetwork.structure import ACTIVATIONS, HypernetworkSettings, parse_numbers
from trainer.training.record import ClassRecord

RECORD = ClassRecord("cyt_mast", "cyt mast", "phantom", 24, "CC0", "drawn by cytosynth")
STRUCTURES = ((1, 2, 1), (1, 1), (1, 0.5, 3, 1))


@pytest.fixture(scope="module")
def untouched():
    torch.manual_seed(0)
    made = Base.new(PRESETS["tiny"], ["cyt mast", "neutrophil"], 32)
    made.unet.eval()
    return made


@pytest.fixture
def base(untouched):
    return copy.deepcopy(untouched)


def strong(settings=None, dimensions=(16, 32), seed=1):
    """One whose effect is far above rounding."""
    torch.manual_seed(seed)
    hypernetwork = Hypernetwork(list(dimensions), settings)
    for parameter in hypernetwork.parameters():
        nn.init.normal_(parameter, std=0.2)
    return hypernetwork.eval()


def evaluate_unet(base):
    generator = torch.Generator().manual_seed(2)
    dtype = base.unet.dtype
    latents = torch.randn(2, 4, 8, 8, generator=generator, dtype=torch.float64).to(dtype)
    context = torch.randn(2, 8, 16, generator=generator, dtype=torch.float64).to(dtype)
    with torch.no_grad():
        return base.unet(latents, torch.tensor([10, 700]), context).sample


def settings_of(**values):
    drops = {2: (0, 0), 3: (0, 0.1, 0), 4: (0, 0.1, 0.2, 0)}
    if values.pop("dropout", False):
        values["dropout_structure"] = drops[len(values.get("layer_structure", (1, 2, 1)))]
    return HypernetworkSettings(**values)


KINDS = [
    *(settings_of(activation=name) for name in ("linear", *ACTIVATIONS)),
    *(settings_of(activation=name, activate_output=True) for name in ("linear", "swish", "prelu")),
    *(settings_of(layer_structure=structure) for structure in STRUCTURES),
    *(settings_of(layer_structure=structure, activation="relu", dropout=True) for structure in STRUCTURES),
    settings_of(layer_norm=True),
    settings_of(layer_norm=True, activation="leakyrelu", dropout=True),
    settings_of(dropout=True),
    settings_of(dropout_structure=(0, 0.1, 0.2), last_layer_dropout=True),
]


@pytest.mark.parametrize("multiplier", [1.0, -0.6])
@pytest.mark.parametrize("settings", KINDS, ids=lambda s: f"{s.activation}-{s.layer_norm}-{s.layer_structure}")
def test_merged_computes_what_unmerged_computes(settings, multiplier, base):
    base.unet.double()
    hypernetwork = strong(settings).double()
    plain = evaluate_unet(base)
    with attached(base.unet, [(hypernetwork, multiplier)]):
        wanted = evaluate_unet(base)
    torch.testing.assert_close(evaluate_unet(base), plain, rtol=0, atol=0)
    assert (wanted - plain).abs().max() > 1e-3
    residuals, folded = merge_into(base.unet, [(hypernetwork, multiplier)])
    assert bool(residuals) != settings.is_linear
    assert bool(folded) == settings.is_linear
    with stacks_attached(base.unet, residuals):
        torch.testing.assert_close(evaluate_unet(base), wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("kinds", "folds"), [("lll", 3), ("lnl", 1), ("nll", 2), ("lln", 0), ("nn", 0)])
def test_a_chain_folds_its_linear_end_and_keeps_the_rest(kinds, folds, base):
    base.unet.double()
    chain = [
        (strong(settings_of(activation="tanh" if kind == "n" else "linear"), seed=seed).double(), 0.5 + seed / 4)
        for seed, kind in enumerate(kinds)
    ]
    with attached(base.unet, chain):
        wanted = evaluate_unet(base)
    residuals, folded = merge_into(base.unet, chain)
    assert {place for place, _, _ in folded} == set(range(len(kinds) - folds, len(kinds)))
    with stacks_attached(base.unet, residuals):
        torch.testing.assert_close(evaluate_unet(base), wanted, rtol=1e-10, atol=1e-10)


def test_a_hypernetwork_of_another_base_is_refused(base):
    for use in (merge_into, lambda unet, h: attached(unet, h).__enter__()):
        with pytest.raises(RequestError, match="dimensions"):
            use(base.unet, Hypernetwork([768]))


def test_a_merge_that_float32_cannot_hold_fails_and_writes_nothing(base, tmp_path):
    huge = strong()
    with torch.no_grad():
        for parameter in huge.parameters():
            parameter.mul_(1e25)
    with pytest.raises(CytosynthError, match="changed by"):
        merge(base, [(HypernetworkFile(huge, "x"), 1.0)], tmp_path / "out", RECORD)
    assert not (tmp_path / "out").exists()


def test_the_trained_class_is_a_dropout_free_one(base):
    """Dropout acts in training alone."""
    settings = settings_of(dropout_structure=(0, 0.5, 0))
    stack = strong(settings).stack(16, "k")
    x = torch.ones(3, 16)
    torch.testing.assert_close(stack(x), stack(x))
    stack.train()
    assert (stack(x) - stack(x)).abs().max() > 1e-4


def test_initialisations_are_those_that_they_are_called_after():
    torch.manual_seed(0)
    wide = 512
    expected = {
        "normal": 0.01,
        "xavieruniform": (2 / (wide + 2 * wide)) ** 0.5,
        "xaviernormal": (2 / (wide + 2 * wide)) ** 0.5,
        "kaiminguniform": (2 / wide) ** 0.5,
        "kaimingnormal": (2 / wide) ** 0.5,
    }
    for kind, deviation in expected.items():
        layer = Hypernetwork([wide], HypernetworkSettings(weight_init=kind, layer_norm=True)).stack(wide, "k").linear
        assert layer[0].weight.std().item() == pytest.approx(deviation, rel=0.03)
        assert layer[1].weight.std().item() == pytest.approx(0.01, rel=0.2)
        assert not layer[0].bias.any()


@pytest.mark.parametrize(
    "values",
    [
        {"layer_structure": (1, 2)},
        {"layer_structure": (2, 1)},
        {"layer_structure": (1,)},
        {"layer_structure": (1, 0, 1)},
        {"layer_structure": (1, float("nan"), 1)},
        {"activation": "Relu"},
        {"activation": "softmax"},
        {"weight_init": "zeros"},
        {"dropout_structure": (0, 0.1)},
        {"dropout_structure": (0.1, 0, 0)},
        {"dropout_structure": (0, 1, 0)},
        {"dropout_structure": (0, 0.1, 0.1)},
    ],
)
def test_structures_that_break_a_rule_are_refused(values):
    with pytest.raises(RequestError):
        HypernetworkSettings(**values)


def test_numbers():
    assert parse_numbers("--x", "1, 2,1") == (1, 2, 1)
    for text in ("1,x,1", "", "1,,1", "1,inf"):
        with pytest.raises(RequestError, match="--x"):
            parse_numbers("--x", text)


def same(one, other):
    assert (one.settings, one.dimensions) == (other.settings, other.dimensions)
    assert one.state_dict().keys() == other.state_dict().keys()
    for name, tensor in one.state_dict().items():
        torch.testing.assert_close(other.state_dict()[name], tensor, rtol=0, atol=0)


@pytest.mark.parametrize("settings", KINDS, ids=lambda s: f"{s.activation}-{s.layer_norm}-{s.layer_structure}")
@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_file_comes_back(suffix, settings, tmp_path):
    file = HypernetworkFile(strong(settings), "cyst", 700, RECORD, "a" * 64, {"sd_checkpoint": "6ce0161689"})
    path = tmp_path / f"h{suffix}"
    (write_hypernetwork if suffix == ".safetensors" else write_webui)(path, file)
    found = read_hypernetwork(path)
    same(file.hypernetwork, found.hypernetwork)
    assert (found.name, found.step, found.extra) == ("cyst", 700, file.extra)
    if suffix == ".safetensors":
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
    # Of 1,2,1 with dropout, the only inner layer has it with last_layer_dropout alone.
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


def test_merge_convert_and_inspect_from_the_command_line(in_process, whole_path, tmp_path):
    source = whole_path / "hypernetworks/cyt_mast.safetensors"
    assert in_process("trainer", "convert", source, tmp_path / "h.pt").returncode == 0
    shown = in_process("trainer", "inspect", tmp_path / "h.pt").stdout
    assert "hypernetwork" in shown
    assert "layer_structure: (1.0, 2.0, 1.0)" in shown
    shown = in_process("trainer", "inspect", source).stdout
    assert "drawn by cytosynth" in shown
    merge_it = ["trainer", "merge", tmp_path / "h.pt", "--base", whole_path / "base", "--out", tmp_path / "merged"]
    done = in_process(*merge_it)
    assert done.returncode == 2
    assert "--origin" in done.stderr
    done = in_process(*merge_it, "--origin", "phantom", "--pictures", 24, "--class", "again")
    assert done.returncode == 0, done.stderr
    assert "folded into the weights" in done.stdout
    assert "Largest difference" in done.stdout
    assert json.loads((tmp_path / "merged/class.json").read_text())["class_name"] == "again"
    done = in_process(*merge_it, "--multiplier", 1, "--multiplier", 2)
    assert done.returncode == 2
    assert "--multiplier" in done.stderr
    done = in_process("trainer", "convert", source, tmp_path / "h.pt")
    assert done.returncode == 2


def test_a_gain_makes_what_is_drawn_vary_more_and_is_one_for_a_bundle(in_process, whole_path, tmp_path):
    source, base = whole_path / "hypernetworks/cyt_mast.safetensors", whole_path / "base"
    merge_it = ["trainer", "merge", source, "--base", base, "--out", tmp_path / "merged"]
    done = in_process(*merge_it, "--latents-gain", "nan")
    assert done.returncode == 2
    assert "--latents-gain" in done.stderr
    assert not (tmp_path / "merged").exists()
    done = in_process(*merge_it, "--latents-gain", 1.25)
    assert done.returncode == 0, done.stderr
    plain, gained = (DiffusionPipeline.from_pretrained(folder) for folder in (base, tmp_path / "merged"))
    latents = torch.randn(1, plain.unet.config.in_channels, 8, 8, generator=torch.Generator().manual_seed(0))
    decoded = [
        pipe.vae.decode(z / pipe.vae.config.scaling_factor).sample
        for pipe, z in ((plain, 1.25 * latents), (gained, latents))
    ]
    torch.testing.assert_close(*decoded)
    bundle = shutil.copytree(whole_path / "bundle", tmp_path / "bundle")
    done = in_process("exporter", "onnx", tmp_path / "merged", "--out", bundle)
    assert done.returncode == 2
    assert "export classes of another base into another bundle" in done.stderr


def test_modules_that_stay_in_the_graph_reach_the_bundle_and_the_pictures(in_process, whole_path, tmp_path):
    """A chain of a tanh and a linear one, merged, exported, and compared with torch by the exporter's own table."""
    base = Base.new(PRESETS["tiny"], ["cyt mast"], 32)
    base.save(tmp_path / "base")
    from trainer.base.base import open_base

    opened = open_base(tmp_path / "base")
    sha256 = digest_of(opened.unet)
    for name, activation in (("bent", "tanh"), ("straight", "linear")):
        hypernetwork = strong(settings_of(activation=activation, layer_norm=activation == "tanh"))
        write_hypernetwork(tmp_path / f"{name}.safetensors", HypernetworkFile(hypernetwork, name, 1, RECORD, sha256))
    files = [tmp_path / "bent.safetensors", tmp_path / "straight.safetensors"]
    done = in_process("trainer", "merge", *files, "--base", tmp_path / "base", "--out", tmp_path / "merged")
    assert done.returncode == 0, done.stderr
    assert "bent: 4 modules stay in the graph (16 K, 16 V, 32 K, 32 V)" in done.stdout
    assert "straight: 4 modules folded" in done.stdout
    assert (tmp_path / "merged" / RESIDUALS_FILE).exists()
    done = in_process("exporter", "onnx", tmp_path / "merged", "--out", tmp_path / "bundle", "--guidance-scale", 2)
    assert done.returncode == 0, done.stderr
    done = in_process("exporter", "verify", tmp_path / "bundle", "--merged", tmp_path / "merged", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    # A linear class beside it shares its weights.
    plain = ["trainer", "merge", files[1], "--base", tmp_path / "base", "--out", tmp_path / "plain", "--class", "plain"]
    assert in_process(*plain).returncode == 0
    shared = (tmp_path / "bundle/unet.bin").read_bytes()
    done = in_process("exporter", "onnx", tmp_path / "plain", "--out", tmp_path / "bundle")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "bundle/unet.bin").read_bytes() == shared

    # The graph's own modules against the hypernetworks in front of the untouched base.
    from engine.backends.openvino import OpenVINOBackend
    from engine.sampling.schedules import time_features

    chain = [(read_hypernetwork(path).hypernetwork, 1.0) for path in files]
    bundle = open_bundle(str(tmp_path / "bundle"))
    generator = torch.Generator().manual_seed(4)
    latents, context = torch.randn(2, 4, 8, 8, generator=generator), torch.randn(2, 8, 16, generator=generator)
    features = time_features(np.full(2, 300.0), np.array(bundle.manifest.frequencies))
    shapes = {"latents": (2, 4, 8, 8), "time_features": features.shape, "encoder_hidden_states": (2, 8, 16)}
    model = OpenVINOBackend(precision="f32").open(bundle.path("unet.cyt_mast.onnx"), shapes, ("eps",))
    inputs = {"latents": latents.numpy(), "time_features": features, "encoder_hidden_states": context.numpy()}
    found = model.run(inputs)["eps"]
    with torch.no_grad(), attached(opened.unet.eval(), chain):
        wanted = opened.unet(latents, torch.tensor([300.0, 300.0]), context).sample.numpy()
    with torch.no_grad():
        plain = opened.unet(latents, torch.tensor([300.0, 300.0]), context).sample.numpy()
    assert np.linalg.norm(found - wanted) < 0.01 * np.linalg.norm(wanted)
    assert np.linalg.norm(plain - wanted) > 0.1 * np.linalg.norm(wanted)


def test_foreign_modules_in_a_merged_folder_are_refused(in_process, whole_path, tmp_path):
    import shutil

    from safetensors.torch import save_file

    for number, modules in enumerate(
        ([{"dimension": 16, "side": "k", "multiplier": 1, "layers": ["Embedding"]}], [{"dimension": 16}], 3)
    ):
        merged = shutil.copytree(whole_path / "merged/cyt_mast", tmp_path / f"merged{number}")
        metadata = {"format": "cytosynth residuals 1", "modules": json.dumps(modules)}
        save_file({"0.0.weight": torch.ones(16, 16)}, merged / RESIDUALS_FILE, metadata)
        done = in_process("exporter", "onnx", merged, "--out", tmp_path / "bundle")
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "bundle").exists()
