"""The pieces of training: exact resuming, exact normalisation, bases that diffusers opens, wrong requests."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file

from engine.errors import RequestError
from trainer.base.base import PRESETS, Base, encode_prompts, new_tokenizer
from trainer.pretraining.autoencoder import normalise_latents
from trainer.training.devices import Compute
from trainer.training.encoding import encode_set
from trainer.training.loop import LoopSettings, run_loop
from trainer.training.schedule import Cosine

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def base():
    torch.manual_seed(0)
    made = Base.new(PRESETS["tiny"], ["cyt mast", "neutrophil"], 32)
    made.unet.eval()
    made.vae.eval()
    return made


def test_normalised_latents_decode_to_the_same_pictures(base):
    generator = torch.Generator().manual_seed(3)
    pictures = torch.randint(256, (16, 3, 32, 32), generator=generator, dtype=torch.uint8)
    latents = encode_set(base.vae, pictures, Compute())
    with torch.no_grad():
        before = base.vae.decode(latents).sample
        normalised = normalise_latents(base.vae, latents)
        after = base.vae.decode(normalised).sample
    torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(encode_set(base.vae, pictures, Compute()), normalised, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(normalised.mean((0, 2, 3)), torch.zeros(4), rtol=0, atol=1e-5)
    torch.testing.assert_close(normalised.std((0, 2, 3)), torch.ones(4), rtol=1e-4, atol=0)


def test_a_run_that_was_cut_off_ends_where_the_whole_run_ends(tmp_path):
    settings = LoopSettings(steps=40, batch_size=32, learning_rate=Cosine(0.03, 2), ema_decay=0.9)

    def train(folder, stop_at=None):
        torch.manual_seed(0)
        model = torch.nn.Sequential(torch.nn.Linear(3, 5), torch.nn.Tanh(), torch.nn.Linear(5, 1))

        def loss_of(step, generator):
            if step == stop_at:
                raise KeyboardInterrupt
            x = torch.randn(settings.batch_size, 3, generator=generator)
            return (model(x) - x.sum(1, keepdim=True)).pow(2).mean()

        record = run_loop("line", model, loss_of, settings, folder, subject="x", checkpoint_every_s=0)
        return model.state_dict(), record

    whole, record = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", stop_at=23)
    continued, _ = train(tmp_path / "cut")
    for name, tensor in whole.items():
        torch.testing.assert_close(continued[name], tensor, rtol=0, atol=0)
    assert (tmp_path / "cut/line.csv").read_text() == (tmp_path / "whole/line.csv").read_text()
    assert record["loss_last"] < record["loss_first"]
    for other, subject in ((LoopSettings(9, 4, Cosine(0.01)), "x"), (settings, "y")):
        with pytest.raises(RequestError, match="checkpoint"):
            run_loop("line", torch.nn.Linear(3, 1), lambda *_: None, other, tmp_path / "whole", subject=subject)
    (tmp_path / "whole/line.pt").write_bytes(b"no checkpoint")
    with pytest.raises(RequestError, match="unreadable"):
        run_loop("line", torch.nn.Linear(3, 1), lambda *_: None, settings, tmp_path / "whole", subject="x")


def test_class_names_are_single_tokens_and_any_text_is_tokenised(base):
    assert base.tokenizer.tokenize("neutrophil") == ["neutrophil</w>"]
    assert base.tokenizer.tokenize("Ünknown") != []
    embeddings = encode_prompts(base, ["neutrophil", "cyt mast", ""])
    assert embeddings.shape == (3, 8, 16)
    assert (embeddings[0] - embeddings[1]).abs().max() > 1e-3


def test_a_tokenizer_depends_on_nothing_but_its_captions():
    captions = ["erythroblast", "ig", "lymphocyte", "monocyte", "neutrophil", "platelet"]
    wanted = new_tokenizer(captions, 8).get_vocab()
    assert all(new_tokenizer(reversed(captions), 8).get_vocab() == wanted for _ in range(4))


def test_a_merged_folder_opens_in_diffusers_and_draws(whole_path):
    folder = whole_path / "merged" / "cyt_mast"
    pipeline = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    picture = pipeline("cyt mast", num_inference_steps=2, output_type="np", generator=torch.Generator().manual_seed(0))
    assert picture.images.shape == (1, 32, 32, 3)
    assert json.loads((folder / "class.json").read_text())["origin"] == "phantom"


WRONG = {
    "several classes": (["trainer", "fit", "{path}/prepared", "--base", "{path}/base"], "2 classes"),
    "no base": (["trainer", "fit", "{path}/prepared/cyt_mast", "--base", "{path}/prepared"], "no model_index.json"),
    "no pictures": (["trainer", "fit", "{path}/hypernetworks/checkpoints", "--base", "{path}/base"], "no picture"),
    "no steps": (["trainer", "fit", "{path}/prepared/cyt_mast", "--base", "{path}/base", "--steps", "0"], "0 steps"),
    "class": (
        ["trainer", "fit", "{path}/prepared/cyt_mast", "--base", "{path}/base", "--class", "../x"],
        "letters, digits",
    ),
    "licence": (
        ["trainer", "fit", "{path}/prepared/cyt_mast", "--base", "{path}/base", "--licence", " "],
        "class record's licence",
    ),
    "size": (["trainer", "fit", "{path}/other_size", "--base", "{path}/base"], "48 x 48 pixels"),
    "rate": (
        ["trainer", "fit", "{path}/prepared/cyt_mast", "--base", "{path}/base", "--learning-rate", "0"],
        "--learning-rate",
    ),
    "activation": (
        ["trainer", "fit", "{path}/prepared/cyt_mast", "--base", "{path}/base", "--activation", "softmax"],
        "mixes the pictures",
    ),
    "dimension": (
        ["trainer", "fit", "{path}/prepared/cyt_mast", "--base", "{path}/base", "--dimensions", "768"],
        "dimensions",
    ),
    "clipping": (
        ["trainer", "fit", "{path}/prepared/cyt_mast", "--base", "{path}/base", "--clipping", "x"],
        "--clipping",
    ),
    "device": (
        ["trainer", "fit", "{path}/prepared/cyt_mast", "--base", "{path}/base", "--device", "cuda:9"],
        "--device",
    ),
    "template": (
        ["trainer", "fit", "{path}/prepared/cyt_mast", "--base", "{path}/base", "--template", "{path}/no.txt"],
        "no.txt",
    ),
    "alpha": (
        ["trainer", "fit", "{path}/prepared/cyt_mast", "--base", "{path}/base", "--alpha-weight"],
        "no alpha channel",
    ),
    "start": (
        ["trainer", "fit", "{path}/prepared/cyt_mast", "--base", "{path}/base", "--start-from", "{path}/log.txt"],
        "unreadable",
    ),
    "vectors": (
        ["trainer", "embed", "{path}/prepared/cyt_mast", "--base", "{path}/base", "--vectors", "99"],
        "--vectors",
    ),
    "origin": (
        ["trainer", "fit", "{path}/prepared/cyt_mast", "--base", "{path}/base", "--origin", "x"],
        "class record's origin",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_requests_to_fit_exit_2(case, in_process, whole_path, tmp_path):
    arguments, word = WRONG[case]
    if case == "size":
        source = whole_path / "phantom/pictures/cyt_mast"
        assert in_process("trainer", "prepare", source, tmp_path / "other", "--size", 48).returncode == 0
        arguments = ["trainer", "fit", f"{tmp_path}/other/cyt_mast", "--base", "{path}/base"]
    done = in_process(*(argument.format(path=whole_path) for argument in arguments), "--out", tmp_path / "out")
    assert done.returncode == 2, done.stderr
    assert word in done.stderr
    assert "fix:" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_fit_on_other_data_does_not_take_the_old_checkpoint(in_process, whole_path, tmp_path):
    fit = ["trainer", "fit", "--base", whole_path / "base", "--out", tmp_path, "--class", "x", "--steps", 1]
    fit += ["--batch-size", 2, "--resume"]
    assert in_process(*fit, whole_path / "prepared/cyt_mast").returncode == 0
    before = (tmp_path / "x.safetensors").read_bytes()
    assert json.loads((tmp_path / "x.json").read_text())["record"]["pictures"] == 24
    for other in ([whole_path / "prepared/cyt_nep_mast"], [whole_path / "prepared/cyt_mast", "--attribution", "A. B."]):
        done = in_process(*fit, *other)
        assert done.returncode == 2
        assert "checkpoint" in done.stderr
    assert (tmp_path / "x.safetensors").read_bytes() == before


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


@pytest.mark.parametrize("extra", [["--preset", "small"], ["--preset", "huge"], ["--seed", "-1"]])
def test_wrong_requests_to_pretrain_exit_2(extra, in_process, whole_path, tmp_path):
    """32 pixels divide by 32, so the first case is made wrong by the size of its pictures."""
    data = whole_path / "prepared"
    if extra == ["--preset", "small"]:
        source = whole_path / "phantom/pictures/cyt_mast"
        assert in_process("trainer", "prepare", source, tmp_path / "other", "--size", 48).returncode == 0
        data = tmp_path / "other"
    done = in_process("trainer", "pretrain", data, "--out", tmp_path / "base", *extra)
    assert done.returncode == 2, done.stderr
    assert "fix:" in done.stderr
    assert not (tmp_path / "base").exists()


def test_pretrain_leaves_a_foreign_folder_alone(in_process, whole_path, tmp_path):
    (tmp_path / "record.json").write_text("mine")
    done = in_process("trainer", "pretrain", whole_path / "prepared", "--out", tmp_path, "--preset", "tiny")
    assert done.returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


def test_pretrain_goes_on_from_a_base_and_keeps_its_latents(in_process, whole_path, tmp_path):
    """The encoder must not move, or what the UNet learnt before would be lost."""
    before = whole_path / "base"
    pretrain = ["trainer", "pretrain", "--start-from", before, "--unet-steps", 3, "--decoder-steps", 3, "--seed", 5]
    pretrain += ["--unet-batch-size", 2, "--decoder-batch-size", 2]
    done = in_process(*pretrain, whole_path / "prepared", "--out", tmp_path / "base")
    assert done.returncode == 0, done.stderr
    parts = {part: load_file(tmp_path / f"base/{part}/{WEIGHTS}") for part in ("vae", "unet")}
    for part, tensors in parts.items():
        old = load_file(before / part / WEIGHTS)
        changed = {name for name, tensor in tensors.items() if not torch.equal(tensor, old[name])}
        assert changed
        if part == "vae":
            assert {name.split(".")[0] for name in changed} <= {"decoder", "post_quant_conv"}
    # What stood before the decoder's training: a hypernetwork that was fitted on it is one of the base's.
    undecoded = {part: load_file(tmp_path / f"base/checkpoints/base/{part}/{WEIGHTS}") for part in ("vae", "unet")}
    assert all(torch.equal(tensor, undecoded["unet"][name]) for name, tensor in parts["unet"].items())
    assert any(not torch.equal(tensor, undecoded["vae"][name]) for name, tensor in parts["vae"].items())
    record = json.loads((tmp_path / "base/record.json").read_text())
    assert record["compute"]["device"] == "cpu"
    assert record["unet"]["clip_at"]["pairs"] == [[1.0, None]]
    assert record["start"] == json.loads((before / "record.json").read_text())
    assert record["unet"]["loss_first"] < 0.9 * record["start"]["unet"]["loss_first"]

    alone = [*pretrain, "--unet-steps", 0]
    done = in_process(*alone, whole_path / "prepared", "--out", tmp_path / "decoder")
    assert done.returncode == 0, done.stderr
    for part, stays in (("vae", False), ("unet", True), ("text_encoder", True)):
        name = "model.safetensors" if part == "text_encoder" else WEIGHTS
        old, new = (load_file(folder / part / name) for folder in (before, tmp_path / "decoder"))
        assert all(torch.equal(old[key], new[key]) for key in old) is stays

    source = whole_path / "phantom/pictures/cyt_mast"
    assert in_process("trainer", "prepare", source, tmp_path / "other", "--size", 64).returncode == 0
    done = in_process(*pretrain, tmp_path / "other", "--out", tmp_path / "another")
    assert done.returncode == 2
    assert "--size 32" in done.stderr


def test_a_damaged_base_is_refused(in_process, whole_path, tmp_path):
    base = shutil.copytree(whole_path / "base", tmp_path / "base")
    weights = base / "unet/diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    done = in_process(
        "trainer", "fit", whole_path / "prepared/cyt_mast", "--base", base, "--out", tmp_path / "out", "--steps", 1
    )
    assert done.returncode == 2, done.stderr
    assert "cannot be read" in done.stderr
