"""`fit` and `embed`: exact resuming, interrupts that save, what is left on the way, captions, weights of the loss."""

from __future__ import annotations

import csv
import json
import threading

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file

from engine.errors import RequestError
from trainer.base.base import encode_prompts, open_base
from trainer.base.prompts import Captions, filewords_of, read_templates
from trainer.fitting.fit import fit
from trainer.fitting.latents import LatentSet, encode_posteriors, read_alpha
from trainer.fitting.material import EpochOrder, FitOptions
from trainer.hypernetwork.embeddings import Embedding, add_words, read_embedding, write_embedding, write_webui_embedding
from trainer.hypernetwork.files import read_hypernetwork
from trainer.hypernetwork.network import attached
from trainer.pictures.phantom import draw
from trainer.pretraining.pretrain import pretrain
from trainer.training.loop import LoopSettings
from trainer.training.objective import denoising_loss
from trainer.training.record import ClassRecord
from trainer.training.schedule import Cosine, parse_steps

SHORT = ["--steps", 12, "--batch-size", 2, "--learning-rate", "1e-3:6,1e-4"]
UNSTEADY = [
    *SHORT,
    *("--gradient-accumulation", 2, "--clipping", "value", "--clip-at", "0.1:4,0.01", "--ema-decay", 0.9),
    *("--activation", "swish", "--dropout-structure", "0,0.2,0", "--latent-sampling", "random", "--symmetries"),
]


@pytest.fixture
def fit_it(in_process, whole_path, tmp_path):
    def run(out, *options, data="prepared/cyt_mast"):
        arguments = [whole_path / data, "--base", whole_path / "base", "--out", tmp_path / out, "--class", "cyst"]
        return in_process("trainer", "fit", *arguments, *options)

    return run


def weights(path):
    return load_file(path)


def test_a_training_that_was_stopped_goes_on_to_the_same_bits(fit_it, whole_path, tmp_path, monkeypatch):
    """Dropout, random latents, accumulation and averaging included."""
    assert fit_it("whole", *UNSTEADY).returncode == 0
    settings = LoopSettings(
        12, 2, parse_steps("x", "1e-3:6,1e-4"), 0.01, 2, "value", parse_steps("x", "0.1:4,0.01"), 0.9, 0
    )
    record = json.loads((tmp_path / "whole/cyst.json").read_text())
    stop, steps = threading.Event(), []

    def progress(name, done, total, loss, rate):
        steps.append(done)
        if done == 5:
            stop.set()

    hypernetwork = read_hypernetwork(tmp_path / "whole/cyst.safetensors").hypernetwork.settings
    fit(
        open_base(whole_path / "base"),
        whole_path / "prepared/cyt_mast",
        tmp_path / "cut",
        record=ClassRecord(**record["record"]),
        settings=settings,
        structure=hypernetwork,
        options=FitOptions("random", True),
        stop=stop,
        progress=progress,
    )
    assert steps == [1, 2, 3, 4, 5]
    early = weights(tmp_path / "cut/cyst.safetensors")
    done = fit_it("cut", *UNSTEADY)
    assert done.returncode == 2
    assert "--resume" in done.stderr
    assert fit_it("cut", *UNSTEADY, "--resume").returncode == 0
    whole, cut = (weights(tmp_path / f"{name}/cyst.safetensors") for name in ("whole", "cut"))
    for name, tensor in whole.items():
        torch.testing.assert_close(cut[name], tensor, rtol=0, atol=0)
    assert any((early[name] != tensor).any() for name, tensor in whole.items())
    assert (tmp_path / "cut/checkpoints/cyst.csv").read_text() == (tmp_path / "whole/checkpoints/cyst.csv").read_text()


def test_what_is_left_on_the_way(fit_it, tmp_path):
    extra = ["--save-every", 5, "--preview-every", 6, "--tensorboard", "--webui", "--usd-per-hour", 0.86]
    done = fit_it("out", *SHORT, *extra)
    assert done.returncode == 0, done.stderr
    assert "12 steps" in done.stdout
    out = tmp_path / "out"
    assert sorted(path.name for path in (out / "steps").glob("*.safetensors")) == [
        "cyst-000005.safetensors",
        "cyst-000010.safetensors",
    ]
    assert read_hypernetwork(out / "steps/cyst-000005.safetensors").step == 5
    for name in ("cyst-000006.png", "cyst-000012.png"):
        with Image.open(out / "previews" / name) as picture:
            assert picture.size == (4 * 32, 32)
            assert np.ptp(np.asarray(picture)) > 20
    assert list((out / "tensorboard/cyst").glob("events*"))
    assert (out / "cyst.pt").exists()
    assert (out / "cyst.pt.optim").exists()
    with (out / "checkpoints/cyst.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["learning_rate"]) for row in rows] == [1e-3] * 6 + [1e-4] * 6
    record = json.loads((out / "cyst.json").read_text())
    run = record["training"]
    assert run["epochs"] == pytest.approx(12 * 2 / 32)
    assert run["seconds_per_epoch"] == pytest.approx(run["seconds_per_step"] * 16, rel=0.01)
    assert run["usd"] == pytest.approx(run["seconds"] / 3600 * 0.86, abs=1e-4)
    assert {"processor", "threads"} <= set(record["machine"])


def test_previews_and_snapshots_change_nothing(fit_it, tmp_path):
    dropout = ["--dropout-structure", "0,0.2,0"]
    assert fit_it("plain", *SHORT, *dropout).returncode == 0
    assert fit_it("busy", *SHORT, *dropout, "--preview-every", 3, "--save-every", 2).returncode == 0
    one, two = (weights(tmp_path / f"{name}/cyst.safetensors") for name in ("plain", "busy"))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=0, atol=0)


def test_a_training_goes_on_from_the_webuis_file(fit_it, tmp_path):
    """12 steps, written as .pt with .optim; then none at a rate near zero leave it where it was."""
    assert fit_it("first", *SHORT, "--webui").returncode == 0
    options = ["--steps", 1, "--learning-rate", "1e-12", "--start-from", tmp_path / "first/cyst.pt"]
    assert fit_it("second", *options, "--weight-decay", 0, "--webui").returncode == 0
    one, two = (weights(tmp_path / f"{name}/cyst.safetensors") for name in ("first", "second"))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=0, atol=1e-8)
    # The moments went on too: theirs is the thirteenth step, and the settings are the new run's own.
    state = torch.load(tmp_path / "second/cyst.pt.optim", weights_only=True)["optimizer_state_dict"]
    assert {int(moments["step"]) for moments in state["state"].values()} == {13}
    assert state["param_groups"][0]["weight_decay"] == 0


def test_overwrite_begins_anew(fit_it, tmp_path):
    assert fit_it("out", *SHORT).returncode == 0
    first = weights(tmp_path / "out/cyst.safetensors")
    assert fit_it("out", *SHORT, "--overwrite", "--seed", 3).returncode == 0
    second = weights(tmp_path / "out/cyst.safetensors")
    assert any((second[name] != tensor).any() for name, tensor in first.items())
    assert fit_it("out", *SHORT, "--overwrite").returncode == 0
    third = weights(tmp_path / "out/cyst.safetensors")
    assert all((third[name] == tensor).all() for name, tensor in first.items())


def test_what_stands_is_untouched_by_a_request_that_is_refused(fit_it, tmp_path):
    assert fit_it("out", *SHORT, "--save-every", 5, "--webui").returncode == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert fit_it("out", *SHORT, "--overwrite", "--dimensions", "768").returncode == 2
    assert fit_it("out", *SHORT, "--overwrite", "--start-from", tmp_path / "none.pt").returncode == 2
    assert fit_it("out", *SHORT, "--steps", 3, "--resume").returncode == 2
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before
    # Its own file may be what it begins with, and nothing of the old training is left.
    own = ["--overwrite", "--start-from", tmp_path / "out/cyst.pt"]
    assert fit_it("out", *SHORT, *own).returncode == 0
    left = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert left == {"cyst.safetensors", "cyst.json", "checkpoints/cyst.pt", "checkpoints/cyst.csv"}
    (tmp_path / "out/checkpoints/cyst.pt").unlink()
    done = fit_it("out", *SHORT, "--resume")
    assert done.returncode == 2
    assert "checkpoint" in done.stderr


@pytest.mark.parametrize(
    "options",
    [
        ["--dimensions", "-1"],
        ["--dimensions", "16.7"],
        ["--dimensions", "16,16"],
        ["--weight-decay", "nan"],
        ["--layer-structure", "1,0.001,1"],
        ["--seed", "-3"],
    ],
)
def test_wrong_numbers_are_refused_without_a_traceback(options, fit_it, tmp_path):
    done = fit_it("out", *SHORT, *options)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_large_seed_is_a_seed(fit_it):
    assert fit_it("out", "--steps", 1, "--seed", 2**63 - 1).returncode == 0


def test_more_steps_go_on_where_fewer_ended(fit_it, tmp_path):
    assert fit_it("whole", *SHORT).returncode == 0
    assert fit_it("short", *SHORT, "--steps", 7).returncode == 0
    assert fit_it("short", *SHORT, "--resume").returncode == 0
    one, two = (weights(tmp_path / f"{name}/cyst.safetensors") for name in ("whole", "short"))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=0, atol=0)


def draw_small(name, first, count, folder):
    folder.mkdir(parents=True)
    for seed in range(first, first + count):
        Image.fromarray(draw(name, seed, 64)[0]).resize((32, 32)).save(folder / f"{seed}.png")


@pytest.fixture(scope="module")
def two_classes(tmp_path_factory):
    """A tiny base of phantoms of a general kind; twelve of each of two classes, and a hypernetwork fitted on each."""
    folder = tmp_path_factory.mktemp("fits")
    draw_small("cytology", 0, 160, folder / "general/cytology")
    pretrain(
        [folder / "general"],
        folder / "base",
        preset="tiny",
        vae_settings=LoopSettings(200, 16, Cosine(2e-3, 20)),
        decoder_settings=LoopSettings(4, 8, Cosine(1e-4, 1)),
        unet_settings=LoopSettings(500, 32, Cosine(2e-3, 20), ema_decay=0.99),
    )
    found = {}
    for name in ("cyt_mast", "cyt_nep_mast"):
        draw_small(name, 500, 12, folder / "prepared" / name)
        fit(
            open_base(folder / "base"),
            folder / "prepared" / name,
            folder / "out",
            record=ClassRecord(name, "cytology", "phantom", 12),
            settings=LoopSettings(150, 16, parse_steps("x", "2e-3"), ema_decay=0.95),
            options=FitOptions("deterministic", symmetries=True),
        )
        found[name] = read_hypernetwork(folder / f"out/{name}.safetensors").hypernetwork
    return open_base(folder / "base"), found


def held_out_loss(base, name, chain):
    """The same noise and timesteps for every candidate."""
    pictures = np.stack([np.asarray(Image.fromarray(draw(name, seed, 64)[0]).resize((32, 32))) for seed in range(48)])
    tensor = torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()
    mean, _ = encode_posteriors(base.vae, tensor, range(1), torch.device("cpu"))
    with torch.no_grad(), attached(base.unet.eval(), chain):
        context = encode_prompts(base, ["cytology"]).expand(48, -1, -1)
        generator = torch.Generator().manual_seed(0)
        losses = [denoising_loss(base.unet, base.scheduler, mean, context, generator) for _ in range(12)]
    return float(torch.stack(losses).mean())


@pytest.mark.parametrize(("name", "other"), [("cyt_mast", "cyt_nep_mast"), ("cyt_nep_mast", "cyt_mast")])
def test_twelve_pictures_make_a_class_better_than_the_base_and_another_class(name, other, two_classes):
    """By the loss on pictures that were not trained on."""
    base, found = two_classes
    plain = held_out_loss(base, name, [])
    own = held_out_loss(base, name, [(found[name], 1.0)])
    foreign = held_out_loss(base, name, [(found[other], 1.0)])
    assert own < 0.99 * plain
    assert own < 0.97 * foreign


def test_an_epoch_shows_every_picture_once():
    order = EpochOrder(10, 4, seed=1)
    rows = torch.cat([order.batch(i) for i in range(5)])
    assert sorted(rows[:10].tolist()) == sorted(rows[10:].tolist()) == list(range(10))
    assert rows[:10].tolist() != rows[10:].tolist()
    torch.testing.assert_close(EpochOrder(10, 4, seed=1).batch(3), rows[12:16])


def test_latents_are_sampled_once_never_or_always():
    mean, std = torch.zeros(4, 1, 2, 2), torch.ones(4, 1, 2, 2)
    rows, generator = torch.arange(4), torch.Generator().manual_seed(0)
    for sampling, moves, spread in (("once", False, True), ("deterministic", False, False), ("random", True, True)):
        latents = LatentSet(mean, std, sampling, None, 0)
        one, two = latents.draw(rows, generator), latents.draw(rows, generator)
        assert bool((one != two).any()) == moves
        assert bool(one.any()) == spread


def test_alpha_weighs_the_loss_as_the_webui_does(tmp_path, fit_it, whole_path):
    class Data:
        paths = []  # noqa: RUF012

    pixels = np.full((32, 32, 4), 200, np.uint8)
    pixels[:, :16, 3], pixels[:, 16:, 3] = 55, 255
    (tmp_path / "c").mkdir()
    for i in range(4):
        Image.fromarray(pixels).save(tmp_path / f"c/{i}.png")
        Data.paths.append(tmp_path / f"c/{i}.png")
    found = read_alpha(Data, range(1), 8)
    assert found.shape == (4, 1, 8, 8)
    torch.testing.assert_close(found.mean((1, 2, 3)), torch.ones(4))
    assert found[0, 0, :, 0].max() == 0
    torch.testing.assert_close(found[0, 0, :, -1], torch.full((8,), found[0, 0, 0, -1].item()))
    assert fit_it("plain", *SHORT, data=tmp_path / "c").returncode == 0
    assert fit_it("weighed", *SHORT, "--alpha-weight", data=tmp_path / "c").returncode == 0
    one, two = (weights(tmp_path / f"{name}/cyst.safetensors") for name in ("plain", "weighed"))
    assert any((one[name] != two[name]).any() for name in one)


def test_captions(tmp_path):
    (tmp_path / "t.txt").write_text("a photo of [name], [filewords]\n\n[filewords]\n")
    (tmp_path / "x.txt").write_text("round, dark, large\n")
    assert filewords_of(tmp_path / "x.png") == "round, dark, large"
    assert filewords_of(tmp_path / "0012-Big_cell-3.png") == "Big cell 3"
    generator = torch.Generator().manual_seed(0)
    captions = Captions("cyst", read_templates(tmp_path / "t.txt"), ("round, dark, large",))
    drawn = {captions.draw(0, generator) for _ in range(20)}
    assert drawn == {"a photo of cyst, round, dark, large", "round, dark, large"}
    shuffled = Captions("cyst", ("[filewords]",), ("a, b, c",), shuffle_tags=True, tag_dropout=0.3)
    drawn = [shuffled.draw(0, generator) for _ in range(200)]
    assert {tag for text in drawn for tag in text.split(", ") if tag} == {"a", "b", "c"}
    assert len(set(drawn)) > 8
    kept = sum(len([tag for tag in text.split(", ") if tag]) for text in drawn) / 600
    assert 0.6 < kept < 0.8
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(RequestError, match="no line"):
        read_templates(tmp_path / "empty.txt")


def test_textual_inversion_reaches_diffusers_and_the_bundle(in_process, whole_path, tmp_path):
    embed = ["embed", whole_path / "prepared/cyt_mast", "--base", whole_path / "base", "--out", tmp_path / "e"]
    options = [*SHORT, "--learning-rate", "0.05", "--class", "cyst", "--vectors", 2, "--initial-text", "cyt mast"]
    done = in_process("trainer", *embed, *options, "--origin", "phantom", "--webui", "--save-every", 5)
    assert done.returncode == 0, done.stderr
    assert "<cyst> <cyst_1>" in done.stdout
    embedding = read_embedding(tmp_path / "e/cyst.safetensors")
    assert embedding.vectors.shape == (2, 16)
    torch.testing.assert_close(read_embedding(tmp_path / "e/cyst.pt").vectors, embedding.vectors, rtol=0, atol=0)
    base = open_base(whole_path / "base")
    ids = base.tokenizer("cyt mast", add_special_tokens=False).input_ids
    start = base.text_encoder.get_input_embeddings().weight[ids]
    assert (embedding.vectors - start).abs().max() > 0.01
    assert "in prompts: <cyst> <cyst_1>" in in_process("trainer", "inspect", tmp_path / "e/cyst.safetensors").stdout

    hypernetwork = whole_path / "hypernetworks/cyt_mast.safetensors"
    merge = ["merge", hypernetwork, "--base", whole_path / "base", "--out", tmp_path / "merged"]
    done = in_process("trainer", *merge, "--embedding", tmp_path / "e/cyst.safetensors", "--class", "cyst")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "merged/class.json").read_text())["prompt"] == "<cyst> <cyst_1>"
    pipeline = StableDiffusionPipeline.from_pretrained(tmp_path / "merged", safety_checker=None, local_files_only=True)
    found = pipeline.encode_prompt("<cyst> <cyst_1>", "cpu", 1, False)[0]
    add_words(base, embedding)
    wanted = encode_prompts(base, ["<cyst> <cyst_1>"]).detach()
    torch.testing.assert_close(found.detach(), wanted, rtol=1e-5, atol=1e-6)
    plain = encode_prompts(base, ["cyt mast"]).detach()
    assert (wanted - plain).abs().max() > 1e-3
    done = in_process("exporter", "onnx", tmp_path / "merged", "--out", tmp_path / "bundle")
    assert done.returncode == 0, done.stderr
    stored = load_file(tmp_path / "bundle/context.cyst.safetensors")["cond"]
    torch.testing.assert_close(stored, wanted[0], rtol=1e-4, atol=1e-5)


def test_textual_inversion_resumes_to_the_same_bits_and_is_replaced_on_request(in_process, whole_path, tmp_path):
    def run(out, *options):
        embed = ["embed", whole_path / "prepared/cyt_mast", "--base", whole_path / "base", "--out", tmp_path / out]
        return in_process("trainer", *embed, *SHORT, "--latent-sampling", "random", "--class", "cyst", *options)

    assert run("whole", "--preview-every", 6).returncode == 0
    assert (tmp_path / "whole/previews/cyst-000012.png").exists()
    assert run("cut", "--steps", 7).returncode == 0
    assert run("cut").returncode == 2
    assert run("cut", "--resume").returncode == 0
    whole, cut = (read_embedding(tmp_path / f"{name}/cyst.safetensors").vectors for name in ("whole", "cut"))
    torch.testing.assert_close(cut, whole, rtol=0, atol=0)
    assert run("cut", "--overwrite", "--seed", 5).returncode == 0
    assert (read_embedding(tmp_path / "cut/cyst.safetensors").vectors != whole).any()
    # An embedding alone is a class too.
    merge = ["merge", "--base", whole_path / "base", "--embedding", tmp_path / "whole/cyst.safetensors"]
    done = in_process("trainer", *merge, "--out", tmp_path / "merged")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "merged/class.json").read_text())["prompt"] == "<cyst>"
    assert in_process("trainer", "merge", "--base", whole_path / "base", "--out", tmp_path / "none").returncode == 2


def test_embeddings_that_do_not_fit_are_refused(whole_path, tmp_path):
    base = open_base(whole_path / "base")
    with pytest.raises(RequestError, match="vectors of 7"):
        add_words(base, Embedding("x", torch.zeros(1, 7)))
    add_words(base, Embedding("x", torch.zeros(1, 16)))
    with pytest.raises(RequestError, match="already"):
        add_words(base, Embedding("x", torch.zeros(1, 16)))
    write_embedding(tmp_path / "a.safetensors", Embedding("x", torch.zeros(16)))
    write_webui_embedding(tmp_path / "b.pt", Embedding("x", torch.zeros(3)))
    (tmp_path / "c.pt").write_bytes(b"x")
    for name in ("a.safetensors", "b.pt", "c.pt", "none.pt"):
        with pytest.raises(RequestError):
            read_embedding(tmp_path / name)


def test_bench_compares_the_loops(in_process, whole_path, tmp_path):
    options = ["--base", whole_path / "base", "--rounds", 2, "--steps", 1, "--record", tmp_path / "r.json"]
    done = in_process("benchmarks", "training", *options)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "r.json").read_text())
    peers = ["as AUTOMATIC1111", "as diffusers", "as AUTOMATIC1111, f32", "as diffusers, f32"]
    assert list(found["seconds_per_step"]) == [*peers, "fit f32", "fit bf16"]
    medians = {name: sum(values) / 2 for name, values in found["seconds_per_step"].items()}
    assert found["times_peer"]["fit f32"]["as diffusers"] == pytest.approx(medians["as diffusers"] / medians["fit f32"])
