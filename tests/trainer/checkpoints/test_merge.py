"""The merger against plain formulas, key by key, and what it refuses."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import threading
from collections import namedtuple

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from engine.errors import CytosynthError, RequestError
from tests.conftest import ROOT
from tests.trainer.checkpoints.checkpoint_files import INPUT, POSITIONS, TEXT, UNET, VAE, state, write
from trainer.checkpoints.blocks import parse_blocks
from trainer.checkpoints.merge import merge_checkpoints
from trainer.checkpoints.settings import METHODS, MergeSettings, parse_pattern

CONSTANT = "alphas_cumprod"
OUT11 = f"{UNET}out.2.bias"
FC1 = f"{TEXT}encoder.layers.0.mlp.fc1.weight"


@pytest.fixture
def files(tmp_path):
    return [write(tmp_path / f"{name}.safetensors", state(i)) for i, name in enumerate("abc")]


def merged(paths, out, **changes):
    """Merge, and return the tensors and the metadata of the result."""
    settings = MergeSettings(out=out, **changes)
    merge_checkpoints(paths, settings)
    with safe_open(out, framework="pt") as opened:
        metadata = opened.metadata()
    return load_file(out), metadata


def expected(name, a, b, c, multiplier, method):
    if "model" not in name or name == POSITIONS or method == "no-interpolation":
        return a[name]
    if method == "weighted-sum":
        return a[name] * (1 - multiplier) + b[name] * multiplier
    return a[name] + (b[name] - c[name]) * multiplier


@pytest.mark.parametrize("method", METHODS)
def test_every_tensor_is_that_of_the_formula(files, tmp_path, method):
    states = [load_file(path) for path in files]
    count = {"weighted-sum": 2, "add-difference": 3, "no-interpolation": 1}[method]
    found, _ = merged(files[:count], tmp_path / "out.safetensors", method=method, multiplier=0.7)
    assert found.keys() == states[0].keys()
    for name, tensor in found.items():
        wanted = expected(name, *states, 0.7, method)
        assert tensor.dtype == wanted.dtype
        torch.testing.assert_close(tensor, wanted, rtol=1e-6, atol=1e-6)


def test_half_types_are_computed_in_their_own_type_and_mixed_ones_in_the_wider(files, tmp_path):
    halves = [write(tmp_path / f"half{i}.safetensors", state(i, dtype=torch.float16)) for i in range(2)]
    a, b = map(load_file, halves)
    found, _ = merged(halves, tmp_path / "out.safetensors", multiplier=0.3)
    assert torch.equal(found[OUT11], (1 - 0.3) * a[OUT11] + 0.3 * b[OUT11])
    assert found[OUT11].dtype == torch.float16
    found, _ = merged([halves[0], files[1]], tmp_path / "mixed.safetensors")
    assert found[OUT11].dtype == torch.float32
    assert found[CONSTANT].dtype == torch.float16


def test_tensors_that_a_file_lacks(files, tmp_path):
    a, b, c = map(load_file, files)
    del b[OUT11], c[FC1]
    b["model.of_b_alone"] = torch.ones(1)
    paths = [files[0], write(tmp_path / "b2.safetensors", b), write(tmp_path / "c2.safetensors", c)]
    found, _ = merged(paths, tmp_path / "out.safetensors", method="add-difference", multiplier=1.0)
    assert torch.equal(found[OUT11], a[OUT11])
    assert torch.equal(found[FC1], a[FC1])
    assert "model.of_b_alone" not in found


@pytest.mark.parametrize(("channels", "word"), [(9, "inpainting"), (8, "instruct_pix2pix")])
def test_a_checkpoint_with_more_input_channels_is_merged_in_its_first_four(files, tmp_path, channels, word):
    wide = write(tmp_path / "wide.safetensors", state(5, channels))
    found, metadata = merged([wide, files[1]], tmp_path / "out.safetensors", multiplier=0.25)
    a, b = load_file(wide)[INPUT], load_file(files[1])[INPUT]
    torch.testing.assert_close(found[INPUT][:, :4], 0.75 * a[:, :4] + 0.25 * b)
    assert torch.equal(found[INPUT][:, 4:], a[:, 4:])
    assert json.loads(metadata["sd_merge_recipe"])[f"is_{word}"] is True
    with pytest.raises(RequestError, match=f"checkpoint for {word.replace('_', '-')} as A"):
        merged([files[1], wide], tmp_path / "other.safetensors")


def test_a_linear_layer_of_another_layout_does_not_multiply_the_shape(files, tmp_path):
    """The WebUI broadcasts 512 x 512 x 1 x 1 with 512 x 512, and runs out of memory."""
    name, b = f"{VAE}encoder.mid.attn_1.q.weight", load_file(files[1])
    wanted = b[name].clone()
    b[name] = b[name][..., 0, 0].clone()
    paths = [files[0], write(tmp_path / "linear.safetensors", b)]
    found, _ = merged(paths, tmp_path / "out.safetensors", multiplier=1.0)
    assert torch.equal(found[name], wanted)


def test_blocks_have_their_own_multipliers(files, tmp_path):
    a, b = map(load_file, files[:2])
    weights = ",".join(str(i / 25) for i in range(26))
    found, metadata = merged(files[:2], tmp_path / "out.safetensors", blocks=parse_blocks(weights))
    places = {
        FC1: 0,
        INPUT: 1,
        f"{UNET}time_embed.0.weight": 1,
        f"{UNET}input_blocks.11.0.weight": 12,
        f"{UNET}middle_block.0.weight": 13,
        f"{UNET}output_blocks.0.0.weight": 14,
        OUT11: 25,
    }
    for name, place in places.items():
        torch.testing.assert_close(found[name], a[name] * (1 - place / 25) + b[name] * place / 25)
    assert json.loads(metadata["sd_merge_recipe"])["block_multipliers"]["M00"] == 13 / 25


def test_blocks_need_the_blocks_of_stable_diffusion(files, tmp_path):
    a = {name: tensor for name, tensor in load_file(files[0]).items() if "output_blocks.11" not in name}
    short = write(tmp_path / "short.safetensors", a)
    with pytest.raises(RequestError, match="24 blocks"):
        merged([short, files[1]], tmp_path / "out.safetensors", blocks=parse_blocks("M00=1"))


def test_half_changes_what_is_merged_and_everything_without_interpolation(files, tmp_path):
    found, _ = merged(files[:2], tmp_path / "out.safetensors", half=True)
    assert found[OUT11].dtype == torch.float16
    assert found[CONSTANT].dtype == torch.float32
    found, _ = merged(files[:1], tmp_path / "one.safetensors", half=True, method="no-interpolation")
    assert found[CONSTANT].dtype == torch.float16
    assert found[POSITIONS].dtype == torch.int64


@pytest.mark.parametrize("prefix", ["", VAE])
def test_a_vae_takes_the_place_of_that_of_a(files, tmp_path, prefix):
    vae = {f"{prefix}decoder.conv_in.bias": torch.ones(5), f"{prefix}encoder.unknown": torch.ones(1)}
    vae |= {"loss.logvar": torch.ones(()), "model_ema.decay": torch.ones(())}
    path = write(tmp_path / "vae.safetensors", vae)
    found, metadata = merged(files[:2], tmp_path / "out.safetensors", vae=path, half=True)
    assert torch.equal(found[f"{VAE}decoder.conv_in.bias"], torch.ones(5, dtype=torch.float16))
    assert found.keys() == load_file(files[0]).keys()
    assert json.loads(metadata["sd_merge_recipe"])["bake_in_vae"] == "vae.safetensors"


def test_a_pattern_leaves_tensors_out(files, tmp_path):
    found, _ = merged(files[:2], tmp_path / "out.safetensors", discard=parse_pattern("^model_ema"))
    assert {name for name in load_file(files[0]) if name not in found} == {
        "model_ema.decay",
        "model_ema.diffusion_modelout2bias",
    }
    with pytest.raises(RequestError, match="found in every name"):
        merged(files[:2], tmp_path / "none.safetensors", discard=parse_pattern(""))


def test_old_names_of_the_text_encoder_are_understood(files, tmp_path):
    b = {name.replace(".text_model.", "."): tensor for name, tensor in load_file(files[1]).items()}
    paths = [files[0], write(tmp_path / "old.safetensors", b)]
    found, _ = merged(paths, tmp_path / "out.safetensors", multiplier=1.0)
    assert torch.equal(found[FC1], load_file(files[1])[FC1])


MISFITS = {
    "another shape": (lambda b: {**b, OUT11: torch.zeros(1)}, r"out\.2\.bias of \[4\] and \[1\]"),
    "no shared tensor": (lambda b: {"lora_unet_x.alpha": torch.ones(1)}, "no shared tensor"),
    "SDXL": (lambda b: {**b, "conditioner.embedders.0.x": torch.ones(1)}, "Stable Diffusion XL"),
    "8 bits": (lambda b: {**b, OUT11: b[OUT11].to(torch.float8_e4m3fn)}, "in 8 bits"),
}


@pytest.mark.parametrize("case", MISFITS)
def test_checkpoints_that_do_not_fit_are_refused_before_a_tensor_is_read(files, tmp_path, case):
    change, words = MISFITS[case]
    b = write(tmp_path / "other.safetensors", change(load_file(files[1])))
    with pytest.raises(RequestError, match=words):
        merged([files[0], b], tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()


def test_a_tensor_that_is_not_finite_ends_the_merge_and_names_the_file(files, tmp_path):
    b = load_file(files[1])
    b[FC1][0, 0] = torch.nan
    path = write(tmp_path / "nan.safetensors", b)
    with pytest.raises(CytosynthError, match=r"NaN or infinity in nan\.safetensors"):
        merged([files[0], path], tmp_path / "out.safetensors")
    assert [one.name for one in tmp_path.glob("out*")] == []
    b[FC1][0, 0] = 1e6
    path = write(tmp_path / "large.safetensors", b)
    with pytest.raises(CytosynthError, match="leave --half out"):
        merged([files[0], path], tmp_path / "out.safetensors", half=True)


def test_an_existing_file_stays_and_an_input_is_never_replaced(files, tmp_path):
    out = tmp_path / "out.safetensors"
    out.write_bytes(b"mine")
    with pytest.raises(RequestError, match="--overwrite"):
        merged(files[:2], out)
    assert out.read_bytes() == b"mine"
    assert merged(files[:2], out, overwrite=True)[0]
    with pytest.raises(RequestError, match="one of the checkpoints"):
        merged(files[:2], files[0], overwrite=True)


def test_too_little_space_and_a_stop_leave_no_file(files, tmp_path, monkeypatch):
    stop = threading.Event()
    stop.set()
    with pytest.raises(CytosynthError, match="signal to stop"):
        merge_checkpoints(files[:2], MergeSettings(out=tmp_path / "out.safetensors"), stop=stop)
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1, 1, 1000))
    with pytest.raises(RequestError, match="0 MB free"):
        merged(files[:2], tmp_path / "out.safetensors")
    assert [one.name for one in tmp_path.glob("out*")] == []


REQUESTS = {
    "one file": (1, {}, "1 checkpoints"),
    "two for a difference": (2, {"method": "add-difference"}, "2 checkpoints"),
    "a sum without interpolation": (2, {"method": "no-interpolation"}, "2 checkpoints"),
    "blocks without interpolation": (1, {"method": "no-interpolation", "blocks": parse_blocks("M00=1")}, "--blocks"),
}


@pytest.mark.parametrize("case", REQUESTS)
def test_wrong_requests_are_refused_before_a_file_is_opened(files, tmp_path, case):
    count, changes, words = REQUESTS[case]
    for path in files:
        path.write_bytes(b"not a checkpoint")
    with pytest.raises(RequestError, match=re.escape(words)):
        merged(files[:count], tmp_path / "out.safetensors", **changes)


@pytest.mark.parametrize(
    ("name", "words"),
    [("x.ckpt", "could run code"), ("folder", "a folder"), ("no.safetensors", "no such file"), ("x", "of no kind")],
)
def test_other_files_are_refused_with_the_fix(files, tmp_path, name, words):
    (tmp_path / "folder").mkdir()
    with pytest.raises(RequestError, match=words):
        merged([files[0], tmp_path / name], tmp_path / "out.safetensors")


def test_the_file_to_write_must_be_safetensors(files, tmp_path):
    with pytest.raises(RequestError, match=r"name a \.safetensors file"):
        merged(files[:2], tmp_path / "out.ckpt")


@pytest.mark.soak
def test_memory_does_not_grow_with_the_size_of_the_checkpoints(tmp_path):
    """Checkpoints of 420 MB. The merge holds a few copies of one tensor of 4 MB."""
    tensors = {f"model.{i}": torch.full((2**20,), float(i)) for i in range(100)}
    for name in "ab":
        write(tmp_path / f"{name}.safetensors", tensors)
    script = f"""
import resource, torch
from pathlib import Path
from trainer.checkpoints.merge import merge_checkpoints
from trainer.checkpoints.settings import MergeSettings
folder = Path({str(tmp_path)!r})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
merge_checkpoints([folder / "a.safetensors", folder / "b.safetensors"], MergeSettings(out=folder / "out.safetensors"))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert int(done.stdout) < 100_000
