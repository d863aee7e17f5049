"""Merging: exact for every kind of hypernetwork and for chains, from the command line to the bundle."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from diffusers import DiffusionPipeline

from engine.bundle.folder import open_bundle
from engine.errors import CytosynthError, RequestError
from tests.trainer.hypernetwork.examples import KINDS, RECORD, evaluate_unet, settings_of, strong
from trainer.base.base import digest_of, open_base
from trainer.hypernetwork.files import (
    HypernetworkFile,
    read_hypernetwork,
    write_hypernetwork,
)
from trainer.hypernetwork.merge import RESIDUALS_FILE, merge, merge_into, stacks_attached
from trainer.hypernetwork.network import Hypernetwork, attached


@pytest.mark.parametrize(
    ("settings", "multiplier"),
    [(settings, -0.6) for settings in KINDS] + [(settings, 1.0) for settings in KINDS[:2]],
    ids=lambda s: f"{s.activation}-{s.layer_norm}-{s.layer_structure}" if s in KINDS else None,
)
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


def test_a_merge_into_another_base_is_refused(in_process, whole_path, tmp_path):
    other = shutil.copytree(whole_path / "merged/cyt_nep_mast", tmp_path / "other")
    file = whole_path / "hypernetworks/cyt_mast.safetensors"
    done = in_process("trainer", "merge", file, "--out", tmp_path / "out", "--base", other)
    assert done.returncode == 2
    assert "SHA-256" in done.stderr
    assert not (tmp_path / "out").exists()
    (tmp_path / "file").write_text("mine")
    done = in_process("trainer", "merge", file, "--out", tmp_path / "file", "--base", whole_path / "base")
    assert done.returncode == 2
    assert (tmp_path / "file").read_text() == "mine"


def test_a_gain_scales_the_drawn_latents_and_is_the_same_for_a_whole_bundle(in_process, whole_path, tmp_path):
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


def test_the_record_of_a_merge_states_the_part_of_a_long_prompt_that_is_used(in_process, whole_path, tmp_path):
    file = whole_path / "hypernetworks/cyt_mast.safetensors"
    arguments = ["merge", shutil.copy(file, tmp_path / "copy.SAFETENSORS"), "--base", whole_path / "base"]
    done = in_process("trainer", *arguments, "--prompt", "cyt mast " * 4, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "It was cut" in done.stderr
    assert json.loads((tmp_path / "out/class.json").read_text())["prompt"] == "cyt mast cyt mast cyt mast"


def test_modules_that_stay_in_the_graph_reach_the_bundle_and_the_pictures(in_process, whole_path, tmp_path):
    """A chain of a tanh and a linear hypernetwork is merged, exported and compared with torch by the exporter."""
    base = whole_path / "base"
    opened = open_base(base)
    sha256 = digest_of(opened.unet)
    for name, activation in (("bent", "tanh"), ("straight", "linear")):
        hypernetwork = strong(settings_of(activation=activation, layer_norm=activation == "tanh"))
        write_hypernetwork(tmp_path / f"{name}.safetensors", HypernetworkFile(hypernetwork, name, 1, RECORD, sha256))
    files = [tmp_path / "bent.safetensors", tmp_path / "straight.safetensors"]
    done = in_process("trainer", "merge", *files, "--base", base, "--out", tmp_path / "merged")
    assert done.returncode == 0, done.stderr
    assert "bent: 4 modules stay in the graph (16 K, 16 V, 32 K, 32 V)" in done.stdout
    assert "straight: 4 modules folded" in done.stdout
    assert (tmp_path / "merged" / RESIDUALS_FILE).exists()
    done = in_process("exporter", "onnx", tmp_path / "merged", "--out", tmp_path / "bundle", "--guidance-scale", 2)
    assert done.returncode == 0, done.stderr
    done = in_process("exporter", "verify", tmp_path / "bundle", "--merged", tmp_path / "merged", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    # A linear class in the same bundle shares its weights.
    plain = ["trainer", "merge", files[1], "--base", base, "--out", tmp_path / "plain", "--class", "plain"]
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


def test_a_merge_that_cannot_be_written_leaves_nothing(whole_path, tmp_path):
    """The limit of file sizes acts as a full disk does."""
    words = ["merge", whole_path / "hypernetworks/cyt_mast.safetensors", "--base", whole_path / "base"]
    script = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
    script += "from trainer.cli.app import main; main()"
    command = [sys.executable, "-c", script, *map(str, words), "--out", str(tmp_path / "merged")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stderr
    assert [*tmp_path.iterdir()] == []
