"""`fit`: exact resuming, saving when stopped, snapshots, overwriting, and what twelve pictures teach."""

from __future__ import annotations

import csv
import functools
import json
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from tests.trainer.fitting.examples import SHORT, weights
from trainer.base.base import encode_prompts, open_base
from trainer.fitting.class_training import ClassRequest
from trainer.fitting.fit import fit
from trainer.fitting.latents import encode_posteriors
from trainer.fitting.settings import ClassTrainingSettings, FitOptions, NetworkSettings
from trainer.hypernetwork.files import read_hypernetwork
from trainer.hypernetwork.network import attached
from trainer.pictures.phantom import draw
from trainer.pretraining.pretrain import pretrain
from trainer.pretraining.settings import Origin, Stages
from trainer.training.objective import denoising_loss
from trainer.training.record import ClassSettings
from trainer.training.schedule import constant, parse_steps
from trainer.training.settings import LoopSettings, decaying_loop

UNSTEADY = [
    *SHORT,
    *("--gradient-accumulation", 2, "--clipping", "value", "--clip-at", "0.1:4,0.01", "--ema-decay", 0.9),
    *("--activation", "swish", "--dropout-structure", "0,0.2,0", "--latent-sampling", "random", "--symmetries"),
]


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
        Stages(
            vae=decaying_loop(200, 16, 2e-3, warmup=20),
            decoder=decaying_loop(4, 8, 1e-4, warmup=1),
            unet=decaying_loop(500, 32, 2e-3, warmup=20, ema_decay=0.99),
        ),
        Origin("tiny"),
    )
    found = {}
    for name in ("cyt_mast", "cyt_nep_mast"):
        draw_small(name, 500, 12, folder / "prepared" / name)
        settings = ClassTrainingSettings(
            ClassSettings(name, "cytology", "phantom", 12),
            LoopSettings(150, 16, constant(2e-3), clipping="norm", clip_at=constant(1.0), ema_decay=0.95),
            FitOptions("deterministic", symmetries=True),
        )
        fit(open_base(folder / "base"), ClassRequest(folder / "prepared" / name, folder / "out", settings))
        found[name] = read_hypernetwork(folder / f"out/{name}.safetensors").hypernetwork
    return open_base(folder / "base"), found


@functools.cache
def held_out(name):
    """48 pictures that no training has seen, (48, 3, 32, 32) uint8."""
    pictures = np.stack([np.asarray(Image.fromarray(draw(name, seed, 64)[0]).resize((32, 32))) for seed in range(48)])
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous()


def held_out_loss(base, name, chain):
    """Return the loss with the same noise and timesteps for each candidate."""
    tensor = held_out(name)
    mean, _ = encode_posteriors(base.vae, tensor, range(1), torch.device("cpu"))
    with torch.no_grad(), attached(base.unet.eval(), chain):
        context = encode_prompts(base, ["cytology"]).expand(48, -1, -1)
        generator = torch.Generator().manual_seed(0)
        losses = [denoising_loss(base.unet, base.scheduler, mean, context, generator) for _ in range(12)]
    return float(torch.stack(losses).mean())


@pytest.mark.slow
@pytest.mark.parametrize(("name", "other"), [("cyt_mast", "cyt_nep_mast"), ("cyt_nep_mast", "cyt_mast")])
def test_twelve_pictures_make_a_class_better_than_the_base_and_another_class(name, other, two_classes):
    """Measured by the loss on pictures that were not used in training."""
    base, found = two_classes
    plain = held_out_loss(base, name, [])
    own = held_out_loss(base, name, [(found[name], 1.0)])
    foreign = held_out_loss(base, name, [(found[other], 1.0)])
    assert own < 0.99 * plain
    assert own < 0.97 * foreign


def test_a_stopped_training_continues_to_the_same_bits(fit_it, whole_path, tmp_path, monkeypatch):
    """Also with dropout, random latents, accumulation and averaging."""
    assert fit_it("whole", *UNSTEADY).returncode == 0
    loop = LoopSettings(
        12,
        2,
        parse_steps("x", "1e-3:6,1e-4"),
        accumulation=2,
        clipping="value",
        clip_at=parse_steps("x", "0.1:4,0.01"),
        ema_decay=0.9,
    )
    record = json.loads((tmp_path / "whole/cyst.json").read_text())
    stop, steps = threading.Event(), []

    def progress(name, done, total, loss, rate):
        steps.append(done)
        if done == 5:
            stop.set()

    hypernetwork = read_hypernetwork(tmp_path / "whole/cyst.safetensors").hypernetwork.settings
    settings = ClassTrainingSettings(ClassSettings(**record["record"]), loop, FitOptions("random", True))
    request = ClassRequest(whole_path / "prepared/cyt_mast", tmp_path / "cut", settings, stop, progress)
    fit(open_base(whole_path / "base"), request, NetworkSettings(hypernetwork))
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


def test_snapshots_previews_tensorboard_and_costs_are_written(fit_it, tmp_path):
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


def test_a_training_continues_from_the_webuis_file(fit_it, tmp_path):
    """12 steps are written as .pt with .optim. A thirteenth step at a rate near zero changes nothing."""
    assert fit_it("first", *SHORT, "--webui").returncode == 0
    options = ["--steps", 1, "--learning-rate", "1e-12", "--start-from", tmp_path / "first/cyst.pt"]
    assert fit_it("second", *options, "--weight-decay", 0, "--webui").returncode == 0
    one, two = (weights(tmp_path / f"{name}/cyst.safetensors") for name in ("first", "second"))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=0, atol=1e-8)
    # The moments continue too: they count thirteen steps. The settings are those of the new run.
    state = torch.load(tmp_path / "second/cyst.pt.optim", weights_only=True)["optimizer_state_dict"]
    assert {int(moments["step"]) for moments in state["state"].values()} == {13}
    assert state["param_groups"][0]["weight_decay"] == 0


def test_overwrite_starts_again(fit_it, tmp_path):
    assert fit_it("out", *SHORT).returncode == 0
    first = weights(tmp_path / "out/cyst.safetensors")
    assert fit_it("out", *SHORT, "--overwrite", "--seed", 3).returncode == 0
    second = weights(tmp_path / "out/cyst.safetensors")
    assert any((second[name] != tensor).any() for name, tensor in first.items())
    assert fit_it("out", *SHORT, "--overwrite").returncode == 0
    third = weights(tmp_path / "out/cyst.safetensors")
    assert all((third[name] == tensor).all() for name, tensor in first.items())


def test_a_refused_request_leaves_existing_files_untouched(fit_it, tmp_path):
    assert fit_it("out", *SHORT, "--save-every", 5, "--webui").returncode == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert fit_it("out", *SHORT, "--overwrite", "--dimensions", "768").returncode == 2
    assert fit_it("out", *SHORT, "--overwrite", "--start-from", tmp_path / "none.pt").returncode == 2
    assert fit_it("out", *SHORT, "--steps", 3, "--resume").returncode == 2
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before
    # A training may start from its own file. No other file of the old training remains.
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


def test_more_steps_continue_where_fewer_ended(fit_it, tmp_path):
    assert fit_it("whole", *SHORT).returncode == 0
    assert fit_it("short", *SHORT, "--steps", 7).returncode == 0
    assert fit_it("short", *SHORT, "--resume").returncode == 0
    one, two = (weights(tmp_path / f"{name}/cyst.safetensors") for name in ("whole", "short"))
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=0, atol=0)
