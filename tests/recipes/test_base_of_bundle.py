"""The embedded bundle's base, read back from its graphs: on a tiny bundle, against the base that it was made from."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from exporter.onnx_bundle import write_bundle
from tests.conftest import Command, run_command
from trainer.base.base import Base, open_base
from trainer.hypernetwork.files import HypernetworkFile, read_hypernetwork
from trainer.hypernetwork.fold import merge_into


def read_back(*arguments: Path) -> subprocess.CompletedProcess[str]:
    return run_command("recipes.base_of_bundle", *arguments)


@pytest.fixture(scope="module")
def bundle(
    whole_path: Path,
    stochastic: Path,
    command: Command,
    shared_exports: None,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A bundle whose classes have hypernetworks, one class without, and the record that the recipe writes. Its decoder
    has a refiner."""
    folder = tmp_path_factory.mktemp("recipe")
    shutil.copytree(stochastic / "bundle", folder / "bundle")
    facts = ["--class", "plain", "--prompt", "cyt mast", "--origin", "phantom", "--pictures", 24]
    done = command("trainer", "merge", *facts, "--base", stochastic / "base", "--out", folder / "plain")
    assert done.returncode == 0, done.stderr
    write_bundle([folder / "plain"], folder / "bundle")
    base = json.loads((whole_path / "base/record.json").read_text())
    hypernetworks = {
        path.stem: {**json.loads(path.read_text()), "multiplier": 1.0}
        for path in (whole_path / "hypernetworks").glob("*.json")
    }
    record = {"base": {"start": base}, "hypernetworks": hypernetworks}
    (folder / "bundle/record.json").write_text(json.dumps(record))
    weights = open_base(whole_path / "base").vae.state_dict()
    kept = {name: value for name, value in weights.items() if name.startswith(("encoder.", "quant_conv."))}
    save_file(kept, folder / "encoder.safetensors")
    return folder


@pytest.mark.slow
def test_what_the_bundle_was_made_from_comes_back_in_its_float16(
    in_process: Command, bundle: Path, whole_path: Path, stochastic: Path, tmp_path: Path
) -> None:
    done = in_process("recipes.base_of_bundle", bundle / "bundle", tmp_path / "out", bundle / "encoder.safetensors")
    assert done.returncode == 0, done.stderr
    base, found = open_base(stochastic / "base"), open_base(tmp_path / "out/base")
    assert found.refiner.settings == base.refiner.settings
    for part in ("unet", "vae", "text_encoder", "refiner"):
        wanted = getattr(base, part).state_dict()
        for name, value in getattr(found, part).state_dict().items():
            torch.testing.assert_close(value, wanted[name], rtol=1e-3, atol=1e-7, msg=f"{part} {name}")
    assert found.tokenizer("cyt nep mast").input_ids == base.tokenizer("cyt nep mast").input_ids
    own = read_hypernetwork(whole_path / "hypernetworks/cyt_mast.safetensors")
    back = read_hypernetwork(tmp_path / "out/hypernetworks/cyt_mast.safetensors")
    assert back.record == own.record
    wanted, got = change(base, own), change(found, back)
    assert (got - wanted).norm() < 0.03 * wanted.norm(), "the rounding of float16, where a change is a small one"


def change(base: Base, file: HypernetworkFile) -> torch.Tensor:
    """Of all weights of the UNet, by the merge."""
    before = torch.cat([value.flatten() for value in base.unet.state_dict().values()]).clone()
    merge_into(base.unet, file.hypernetwork)
    return torch.cat([value.flatten() for value in base.unet.state_dict().values()]) - before


def test_a_bundle_without_its_record_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    done = read_back(tiny_bundle, tmp_path / "out")
    assert (done.returncode, "record.json" in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "out").exists()


def test_an_encoder_of_another_base_is_refused(in_process: Command, bundle: Path, tmp_path: Path) -> None:
    weights = load_file(bundle / "encoder.safetensors")
    weights.popitem()
    save_file(weights, tmp_path / "other.safetensors")
    done = in_process("recipes.base_of_bundle", bundle / "bundle", tmp_path / "out", tmp_path / "other.safetensors")
    assert (done.returncode, "1 tensors" in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "out").exists()
