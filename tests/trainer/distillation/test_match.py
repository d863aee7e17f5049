"""Matching the pictures of a distilled LoRA of two tiny classes with photographs of one of them."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from tests.trainer.distillation.conftest import CLASSES
from trainer.base.base import open_base
from trainer.base.small_decoder import SmallDecoder, SmallDecoderSettings, write_small_decoder
from trainer.distillation import class_features
from trainer.lora.files import read_lora

OPTIONS = {"more rows": ("--rows", 3), "no classes to learn": ("--class-weight", 1)}


@pytest.fixture
def match(in_process, whole_path, distilled, tmp_path):
    """Runs `match` on both classes with a folder of photographs; options may replace the LoRA."""

    def run(photographs, *options, lora=None):
        merged = [whole_path / f"merged/{name}" for name in CLASSES]
        out = ("--out", tmp_path / "matched")
        return in_process("trainer", "match", lora or distilled, *merged, "--photographs", photographs, *out, *options)

    return run


@pytest.mark.slow
def test_pictures_come_nearer_to_photographs_and_the_table_stays(match, photographs, distilled, tmp_path):
    done = match(photographs, "--steps", 16, "--batch-size", 4, "--learning-rate", 5e-3, "--anchor-weight", 0.1)
    assert done.returncode == 0, done.stderr
    before, after = (
        json.loads(path.read_text()) for path in (distilled.with_suffix(".json"), tmp_path / "matched/turbo.json")
    )
    assert after["rows"] == before["rows"]
    matching = after["matching"]
    assert list(matching["distances"]) == [CLASSES[0]]
    assert matching["distances"][CLASSES[0]] < 0.99 * matching["distances_before"][CLASSES[0]]
    old, new = (read_lora(path).changes for path in (distilled, tmp_path / "matched/turbo.safetensors"))
    assert old.keys() == new.keys()
    assert any((old[place].tensors["lora_up"] != new[place].tensors["lora_up"]).any() for place in old)


@pytest.mark.slow
def test_fewer_rows_come_nearer_to_what_the_lora_drew_with_all(match, photographs, distilled, tmp_path):
    quick = ("--steps", 24, "--batch-size", 4, "--learning-rate", 5e-3, "--anchor-weight", 100)
    done = match(photographs, "--rows", 1, *quick)
    assert done.returncode == 0, done.stderr
    before, after = (
        json.loads(path.read_text()) for path in (distilled.with_suffix(".json"), tmp_path / "matched/turbo.json")
    )
    assert after["evaluations"] == len(after["rows"]) == 1
    assert after["rows"][0]["sigma"] == pytest.approx(before["rows"][0]["sigma"])
    assert (after["rows"][0]["a"], after["rows"][0]["b"]) == (0, 1)
    training = after["matching"]["training"]
    assert training["loss_last"] < 0.9 * training["loss_first"]


@pytest.mark.slow
def test_classifiers_of_the_photographs_and_the_small_decoder_of_the_preset_join(
    match, whole_path, photographs, tmp_path, monkeypatch
):
    """The second class has the first one's photographs upside down. A run that was stopped goes on with the same."""
    monkeypatch.setattr(class_features, "STEPS", 2)
    monkeypatch.setattr(class_features, "LEAST", 8)
    (photographs / CLASSES[1]).mkdir()
    for path in (photographs / CLASSES[0]).glob("*.png"):
        Image.open(path).rotate(180).save(photographs / CLASSES[1] / path.name)
    decoder = tmp_path / "small_decoder.safetensors"
    vae = open_base(whole_path / f"merged/{CLASSES[0]}").vae
    torch.manual_seed(0)
    channels, factor = vae.config.latent_channels, 2 ** (len(vae.config.block_out_channels) - 1)
    write_small_decoder(SmallDecoder(SmallDecoderSettings.of(channels, factor, 8)), decoder)
    options = ("--class-weight", 2, "--decoder", decoder, "--steps", 3, "--batch-size", 4)
    done = match(photographs, *options)
    assert done.returncode == 0, done.stderr
    matching = json.loads((tmp_path / "matched/turbo.json").read_text())["matching"]
    assert matching["settings"]["class_weight"] == 2
    assert len(matching["small_decoder"]) == 64
    assert set(matching["distances"]) == set(CLASSES)
    before = load_file(tmp_path / "matched/turbo.safetensors")
    done = match(photographs, *options, "--resume")
    assert done.returncode == 0, done.stderr
    after = load_file(tmp_path / "matched/turbo.safetensors")
    assert all((after[name] == tensor).all() for name, tensor in before.items())
    done = match(photographs, *options[2:], "--resume")
    assert done.returncode == 2
    assert "its data, base and model" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "found"),
    [
        ("more rows", "--rows"),
        ("unknown class", "the class cell"),
        ("few photographs", "7 of the class cyt_mast"),
        ("another size", "16 x 16 pixels"),
        ("another record", "no file of the format"),
        ("a layer less", "of this network"),
        ("no classes to learn", "0 class(es) of --photographs"),
    ],
)
def test_wrong_requests_are_refused(case, found, match, photographs, distilled, tmp_path):
    lora = None
    folder = photographs / CLASSES[0]
    if case == "unknown class":
        folder.rename(photographs / "cell")
    elif case == "few photographs":
        for path in sorted(folder.glob("*.png"))[7:]:
            path.unlink()
    elif case == "another size":
        for path in folder.glob("*.png"):
            Image.open(path).resize((16, 16)).save(path)
    elif case not in OPTIONS:
        lora = tmp_path / "other.safetensors"
        tensors = load_file(distilled)
        if case == "another record":
            lora.with_suffix(".json").write_text('{"format": "cytosynth-step-1"}')
        else:
            shutil.copy(distilled.with_suffix(".json"), lora.with_suffix(".json"))
            gone = next(iter(tensors)).partition(".")[0]
            tensors = {key: tensor for key, tensor in tensors.items() if not key.startswith(gone + ".")}
        save_file(tensors, lora)
    done = match(photographs, "--steps", 1, *OPTIONS.get(case, ()), lora=lora)
    assert done.returncode == 2, done.stdout
    assert found in done.stderr
    assert not (tmp_path / "matched").exists()


def test_the_folder_of_the_distilled_lora_is_not_overwritten(in_process, whole_path, tmp_path):
    (tmp_path / "photographs").mkdir()
    done = in_process(
        "trainer",
        "match",
        tmp_path / "turbo.safetensors",
        whole_path / "merged/cyt_mast",
        "--out",
        tmp_path,
        "--photographs",
        tmp_path / "photographs",
    )
    assert done.returncode == 2
    assert "the folder of LORA" in done.stderr
