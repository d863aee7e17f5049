"""The embedded bundle's base, read back from its graphs: on a tiny bundle, against the base that it was made from."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from engine.errors import RequestError
from tests.conftest import Command
from trainer.bases import Base, open_base
from trainer.interchange import HypernetworkFile, read_hypernetwork
from trainer.merge import merge_into

SCRIPT = Path(__file__).parents[2] / "trainer/recipes/base_of_bundle.py"


@pytest.fixture(scope="module")
def bundle(whole_path: Path, command: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One class with a hypernetwork and one without, with the record that the recipe writes."""
    folder = tmp_path_factory.mktemp("recipe")
    facts = ["--class", "plain", "--prompt", "cyt mast", "--origin", "phantom", "--pictures", 24]
    steps = [
        ["trainer", "merge", *facts, "--base", whole_path / "base", "--out", folder / "plain"],
        ["exporter", "onnx", whole_path / "merged/cyt_mast", folder / "plain", "--out", folder / "bundle"],
    ]
    for step in steps:
        done = command(*step)
        assert done.returncode == 0, done.stderr
    base = json.loads((whole_path / "base/record.json").read_text())
    hypernetwork = json.loads((whole_path / "hypernetworks/cyt_mast.json").read_text())
    record = {"base": {"start": base}, "hypernetworks": {"cyt_mast": {**hypernetwork, "multiplier": 1.0}}}
    (folder / "bundle/record.json").write_text(json.dumps(record))
    weights = open_base(whole_path / "base").vae.state_dict()
    kept = {name: value for name, value in weights.items() if name.startswith(("encoder.", "quant_conv."))}
    save_file(kept, folder / "encoder.safetensors")
    return folder


def test_what_the_bundle_was_made_from_comes_back_in_its_float16(
    bundle: Path, whole_path: Path, tmp_path: Path
) -> None:
    runpy.run_path(str(SCRIPT))["main"](bundle / "bundle", tmp_path / "out", bundle / "encoder.safetensors")
    base, found = open_base(whole_path / "base"), open_base(tmp_path / "out/base")
    for part in ("unet", "vae", "text_encoder"):
        wanted = getattr(base, part).state_dict()
        for name, value in getattr(found, part).state_dict().items():
            torch.testing.assert_close(value, wanted[name], rtol=1e-3, atol=1e-7, msg=f"{part} {name}")
    assert found.tokenizer("cyt nep mast").input_ids == base.tokenizer("cyt nep mast").input_ids
    own = read_hypernetwork(whole_path / "hypernetworks/cyt_mast.safetensors")
    back = read_hypernetwork(tmp_path / "out/hypernetworks/cyt_mast.safetensors")
    assert back.record == own.record
    wanted, got = merged(base, own), merged(found, back)
    plain = open_base(whole_path / "base").unet.state_dict()
    changed = torch.cat([(wanted[name] - plain[name]).flatten() for name in wanted])
    missed = torch.cat([(got[name] - wanted[name]).flatten() for name in wanted])
    assert missed.norm() < 0.02 * changed.norm(), "the rounding of float16"


def merged(base: Base, file: HypernetworkFile) -> dict[str, torch.Tensor]:
    merge_into(base.unet, file.hypernetwork)
    return base.unet.state_dict()


def test_a_bundle_without_its_record_is_refused(tiny_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"record\.json"):
        runpy.run_path(str(SCRIPT))["main"](tiny_bundle, tmp_path / "out")
    assert not (tmp_path / "out").exists()
