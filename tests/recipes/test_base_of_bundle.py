"""The embedded bundle's base, read back from its graphs: on a tiny bundle, against the base that it was made from."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from engine.bundle.folder import open_bundle
from exporter.onnx_bundle import write_bundle
from tests.conftest import Command, run_command
from tests.exporter.distilled import table_of
from tests.exporter.small_decoders import SETTINGS, write_small_decoder
from trainer.base.base import Base, open_base
from trainer.hypernetwork.files import HypernetworkFile, read_hypernetwork
from trainer.hypernetwork.fold import merge_into
from trainer.lora.files import LoraFile, read_lora, write_lora
from trainer.lora.names import modules_by_name
from trainer.lora.network import Lora

RANK = 2


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
    has a refiner, and its preset `turbo` the LoRA of lora/ in the UNet of one class."""
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
    distilled = lora_on(folder / "plain", folder / "lora")
    tools = ["--base", folder / "plain", "--out", folder / "plain-turbo", "--class", "plain"]
    done = command("trainer", "merge", distilled, *tools, "--origin", "phantom", "--pictures", 24)
    assert done.returncode == 0, done.stderr
    table = table_of(folder / "table.json", open_bundle(str(folder / "bundle")).manifest)
    small = write_small_decoder(folder / "small_decoder.safetensors")
    options = ["--table", table, "--decoder", small]
    done = command("exporter", "preset", folder / "bundle", "turbo", folder / "plain-turbo", *options)
    assert done.returncode == 0, done.stderr
    record = {"base": {"start": base}, "hypernetworks": hypernetworks}
    record["distillation"] = {"settings": {"rank": RANK}, "training": {"steps_done": 7}}
    record |= {
        "refining": {"photographs": {}},
        "shrinking": {"decoder": SETTINGS},
        "table": json.loads(table.read_text()),
    }
    (folder / "bundle/record.json").write_text(json.dumps(record))
    weights = open_base(whole_path / "base").vae.state_dict()
    kept = {name: value for name, value in weights.items() if name.startswith(("encoder.", "quant_conv."))}
    save_file(kept, folder / "encoder.safetensors")
    return folder


@pytest.fixture(scope="module")
def restored(in_process: Command, bundle: Path) -> Path:
    """What the script writes of the bundle."""
    out = bundle / "restored"
    done = in_process("recipes.base_of_bundle", bundle / "bundle", out, bundle / "encoder.safetensors")
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.slow
def test_what_the_bundle_was_made_from_comes_back_in_its_float16(
    restored: Path, whole_path: Path, stochastic: Path
) -> None:
    base, found = open_base(stochastic / "base"), open_base(restored / "base")
    assert found.refiner.settings == base.refiner.settings
    for part in ("unet", "vae", "text_encoder", "refiner"):
        wanted = getattr(base, part).state_dict()
        for name, value in getattr(found, part).state_dict().items():
            torch.testing.assert_close(value, wanted[name], rtol=1e-3, atol=1e-7, msg=f"{part} {name}")
    assert found.tokenizer("cyt nep mast").input_ids == base.tokenizer("cyt nep mast").input_ids
    own = read_hypernetwork(whole_path / "hypernetworks/cyt_mast.safetensors")
    back = read_hypernetwork(restored / "hypernetworks/cyt_mast.safetensors")
    assert back.record == own.record
    wanted, got = change(base, own), change(found, back)
    assert (got - wanted).norm() < 0.03 * wanted.norm(), "the rounding of float16, where a change is a small one"


def lora_on(merged: Path, folder: Path) -> Path:
    """Write a LoRA of rank RANK on all layers that `trainer distill` changes, for the UNet of a merged folder."""
    lora = Lora(open_base(merged).unet, RANK, convolutions=True)
    generator = torch.Generator().manual_seed(0)
    for parameter in lora.parameters():
        parameter.data = 0.1 * torch.randn(parameter.shape, generator=generator)
    write_lora(folder / "turbo.safetensors", LoraFile(lora.changes(), "turbo", 7))
    return folder / "turbo.safetensors"


@pytest.mark.slow
def test_the_lora_of_the_preset_comes_back(bundle: Path, restored: Path) -> None:
    own, back = (read_lora(folder / "turbo.safetensors") for folder in (bundle / "lora", restored / "matched"))
    base = open_base(bundle / "plain")
    weights = {place: module.get_parameter("weight") for place, (_, module) in modules_by_name(base).items()}
    assert back.changes.keys() == own.changes.keys()
    assert back.step == own.step
    for place, change in own.changes.items():
        wanted = change.of(weights[place])
        error = (back.changes[place].of(weights[place]) - wanted).norm() / wanted.norm()
        assert error < 0.02, f"{place.name}: {error:.3f}, beyond the rounding to float16"
    assert json.loads((restored / "matched/turbo.json").read_text())["settings"] == {"rank": RANK}


@pytest.mark.slow
def test_the_learned_table_comes_back(bundle: Path, restored: Path) -> None:
    record = json.loads((bundle / "bundle/record.json").read_text())
    assert json.loads((restored / "table/learned.json").read_text()) == record["table"]


@pytest.mark.slow
def test_the_networks_behind_the_unet_come_back(bundle: Path, restored: Path, stochastic: Path) -> None:
    for found, own in (
        (restored / "refined/refiner.safetensors", stochastic / "base/refiner.safetensors"),
        (restored / "matched_decoder/small_decoder.safetensors", bundle / "small_decoder.safetensors"),
    ):
        wanted, got = load_file(own), load_file(found)
        assert got.keys() == wanted.keys()
        for name, value in wanted.items():
            torch.testing.assert_close(got[name], value, rtol=1e-3, atol=1e-7, msg=f"{found.name} {name}")
        assert found.with_suffix(".json").is_file()


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
