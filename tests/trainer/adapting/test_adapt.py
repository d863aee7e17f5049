"""The whole path with one command: interrupted, resumed, refused, and what the bundle then states."""

from __future__ import annotations

import json
import shutil
import sys
import threading

import pytest
from PIL import Image

from trainer.adapting import adapt as adapting
from trainer.adapting.adapt import Adaptation
from trainer.adapting.processes import Interrupted, run_part
from trainer.adapting.settings import AdaptSettings
from trainer.base.card import BaseCard, write_card
from trainer.fitting.settings import ClassTrainingSettings

pytestmark = pytest.mark.slow

CLASSES = ("cyt_mast", "cyt_nep_mast")
OPTIONS = ["--steps", "4", "--batch-size", "2", "--n", "14"]
GIVEN = {"--steps": "4", "--batch-size": "2", "--n": "14"}


@pytest.fixture
def mine(whole_path, tmp_path):
    """Twelve phantoms of each of two classes, and the tiny base with a card."""
    for name in CLASSES:
        (tmp_path / "mine" / name).mkdir(parents=True)
        for path in sorted((whole_path / "phantom/pictures" / name).glob("*.png"))[:12]:
            shutil.copy(path, tmp_path / "mine" / name)
    shutil.copytree(whole_path / "base", tmp_path / "base")
    card = BaseCard("a tiny base", "CC0", "A. B.", prompts=("cyt mast", "cyt nep mast"), guidance_scale=3.0)
    write_card(card, tmp_path / "base")
    return tmp_path


@pytest.fixture
def exporter_here(in_process, capfd, monkeypatch):
    """Run the exporter's command line in this process, where exports are shared; every other part stays a process."""

    def run(words, log, stop, tick):
        if words[0] != "exporter":
            return run_part(words, log, stop, tick)
        before = capfd.readouterr()
        done = in_process(*words)
        assert done.returncode == 0, done.stderr
        print(before.out, end="")
        print(before.err, end="", file=sys.stderr)
        return None

    monkeypatch.setattr(adapting, "run_part", run)


def test_one_command_makes_a_bundle_and_goes_on_after_an_interruption(mine, in_process, exporter_here, monkeypatch):
    monkeypatch.chdir(mine)
    stop = threading.Event()
    settings = AdaptSettings(n=14)
    run = Adaptation(
        mine / "mine", mine / "made", "base", None, settings, ClassTrainingSettings(), "small", dict(GIVEN)
    )
    with pytest.raises(Interrupted):
        run.run(lambda stage, *figures: stop.set() if stage.startswith("prepare") else None, stop)
    work = mine / "made-work"
    chosen = (work / "choices.json").read_bytes()
    assert not (work / "prepared").exists()

    command = ["trainer", "adapt", "mine", "--out", "made", "--base", "base", *OPTIONS]
    done = in_process(*command)
    assert done.returncode == 0, done.stderr
    assert (work / "choices.json").read_bytes() == chosen
    assert "% fit cyt_nep_mast" in done.stderr
    for words in ("engine generate --bundle made", "python -m evaluate score", "not stated", "made-work/sheet.png"):
        assert words in done.stdout
    expect_bundle(mine, in_process)

    (work / "sheet.png").unlink()
    before = (mine / "made/manifest.json").stat().st_mtime_ns
    done = in_process(*command)
    assert done.returncode == 0, done.stderr
    assert "fit" not in done.stderr
    assert (work / "sheet.png").is_file()
    assert (mine / "made/manifest.json").stat().st_mtime_ns == before

    done = in_process(*command, "--crop", "0.8")
    assert done.returncode == 2
    assert all(word in done.stderr for word in ("--crop", "0.8", "not given", "choose another --out"))


def expect_bundle(folder, in_process):
    """Two classes with the base's licence and guidance, and pictures that state both licences."""
    manifest = json.loads((folder / "made/manifest.json").read_text())
    assert set(manifest["classes"]) == set(CLASSES)
    assert manifest["defaults"]["guidance_scale"] == 3.0
    assert (manifest["base"], manifest["base_card"]["licence"]) == ("a tiny base", "CC0")
    assert manifest["classes"]["cyt_mast"]["pictures"] == 12
    training = json.loads((folder / "made-work/hypernetworks/cyt_mast.json").read_text())["training"]
    assert (training["steps"], training["batch_size"], training["ema_decay"]) == (4, 2, 0.99)
    picture = next((folder / "made-work/cells/cyt_mast").glob("*.png"))
    told = in_process("engine", "png-info", picture, "--json")
    description = json.loads(told.stdout)["cytosynth"]
    assert description["base_licence"] == "CC0"
    assert (description["base_attribution"], description["licence"]) == ("A. B.", "not stated")
    croissant = json.loads((folder / "made-work/cells/croissant.json").read_text())
    assert croissant["license"] == ["CC0", "not stated"]
    with Image.open(folder / "made-work/sheet.png") as sheet:
        assert sheet.height > 4 * 32


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["mine/nowhere"], "no such folder"),
        (["mine", "--crop", "2"], "--crop"),
        (["mine", "--licence", " "], "--licence"),
        (["mine", "--out", "my bundle"], "my bundle"),
        (["mine", "--base", "nowhere"], "nowhere"),
        (["mine", "--device", "cuda:9"], "--device"),
        (["mine", "--lr-scheduler", "cosine"], "--lr-scheduler"),
    ],
)
def test_a_wrong_request_exits_2_and_writes_nothing(words, expected, mine, in_process, monkeypatch):
    monkeypatch.chdir(mine)
    done = in_process("trainer", "adapt", "--out", "made", "--base", "base", *words)
    assert (done.returncode, expected in done.stderr) == (2, True), done.stderr
    assert sorted(path.name for path in mine.iterdir()) == ["base", "mine"]
