"""`engine png-info`: the command that makes a picture again, and untrusted files."""

from __future__ import annotations

import json
import shlex
import string

import numpy as np
import pytest
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from engine.bundle.folder import open_bundle
from engine.bundle.job import make_job
from engine.bundle.settings import settings_of
from engine.cli.png_info import FLAGS, PngDescription, read_png
from engine.errors import RequestError
from engine.output.provenance import describe
from tests.engine.hostile import hostile_png


def test_png_info_gives_the_command_that_makes_the_picture_again(in_process, tiny_bundle, tmp_path):
    words = ["--bundle", tiny_bundle, "--class", "all", "--n", 7, "--seed", 5, "--steps", 3, "--batch-size", 3]
    words += ["--guidance-interval", 0.4, 6, "--rng", "nv", "--sampler", "euler_a"]
    words += ["--prompt", "cyt mast: a, b", "--negative-prompt", "i's\nn", "--out", tmp_path / "one"]
    done = in_process("engine", "generate", *words)
    assert done.returncode == 0, done.stderr
    wanted = (tmp_path / "one/cyt_nep_mast/000005.png").read_bytes()
    done = in_process("engine", "png-info", tmp_path / "one/cyt_nep_mast/000005.png", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    prompt, *_, settings = found["parameters"].split("\n")
    assert prompt == "cyt mast: a, b"
    assert "Negative prompt: i's\nn" in found["parameters"]
    assert settings.startswith("Steps: 3, Sampler: Euler a, Schedule type: Normal, CFG scale: 2, Seed: 10, Size: 32x32")
    assert "RNG: NV" in settings
    words = shlex.split(found["command"])
    words[words.index("--bundle") + 1] = str(tiny_bundle)
    assert in_process(*words, "--out", tmp_path / "two").returncode == 0
    assert (tmp_path / "two/cyt_nep_mast/000000.png").read_bytes() == wanted
    shown = in_process("engine", "png-info", tmp_path / "one/cyt_nep_mast/000005.png")
    assert "synthetic: True" in shown.stdout


@pytest.mark.parametrize(
    ("noise", "shares"),
    [({"rng": "numpy", "shared_noise": False}, False), ({"rng": "numpy"}, True), ({"rng": "nv"}, False)],
)
def test_the_command_asks_for_shared_noise_if_a_picture_does_not_say_otherwise(noise, shares):
    """Earlier versions did not know noise by class; nv needs no option."""
    command = PngDescription("", {"class": "c", "seed": 1, **noise}).command
    assert ("--shared-noise" in command) is shares


@pytest.mark.parametrize(
    "text", ["", "{", "[1]", "null", "1e999", "[" * 100_000, '{"class": ' * 50_000, "\x00", '"' + "a" * 70_000_000]
)
def test_png_info_of_a_hostile_file_is_an_error_and_no_traceback(text, tmp_path):
    hostile_png(tmp_path / "x.png", text)
    with pytest.raises(RequestError, match=r"x\.png"):
        read_png(tmp_path / "x.png")


def test_png_info_of_no_picture_is_refused(in_process, tmp_path):
    Image.new("RGB", (2, 2)).save(tmp_path / "plain.png")
    (tmp_path / "text.png").write_text("no picture")
    for name, word in (("plain.png", "no cytosynth text"), ("text.png", "unreadable"), ("none.png", "unreadable")):
        done = in_process("engine", "png-info", tmp_path / name)
        assert done.returncode == 2
        assert word in done.stderr
        assert "Traceback" not in done.stderr


def test_png_info_prints_no_escape_and_quotes_what_a_shell_would_run(in_process, tmp_path):
    hostile_png(tmp_path / "x.png", json.dumps({"class": "a; rm -rf ~", "note": "\x1b[2J", "seed": "$(id)"}))
    done = in_process("engine", "png-info", tmp_path / "x.png")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert "--class 'a; rm -rf ~' --seed '$(id)'" in done.stdout


def test_png_info_survives_random_descriptions(tmp_path):
    """Arbitrary JSON in a PNG gives a description with a safe shell command, or a RequestError."""
    rng = np.random.default_rng(0)

    def value(depth=0):
        kind = rng.integers(7 if depth < 3 else 4)
        letters = [str(letter) for letter in rng.choice(list(string.printable + "äß€\u202e"), rng.integers(12))]
        simple = [None, float(rng.standard_normal()), int(rng.integers(-(10**9), 10**9)), "".join(letters)]
        if kind < 4:
            return simple[kind]
        if kind == 4:
            return [value(depth + 1) for _ in range(rng.integers(4))]
        names = ["class", "seed", "prompt", "negative_prompt", "prompt_given", "guidance_interval", "bundle", "x"]
        return {str(rng.choice(names)): value(depth + 1) for _ in range(rng.integers(6))}

    for i in range(200):
        hostile_png(tmp_path / f"{i}.png", json.dumps(value()))
        try:
            found = read_png(tmp_path / f"{i}.png")
        except RequestError:
            continue
        words = shlex.split(found.command)
        assert words[:2] == ["engine", "generate"]


TEXT = "a cell, ä\nNegative prompt: blur\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 512x768, Model: m"


def webui_picture(path, code=b"UNICODE\0", encoding="utf-16-be"):
    """Write a picture with the WebUI's text where the WebUI puts it in this format."""
    image = Image.new("RGB", (8, 8))
    if path.suffix == ".png":
        info = PngInfo()
        info.add_text("parameters", TEXT)
        image.save(path, pnginfo=info)
    elif path.suffix == ".gif":
        image.save(path, comment=TEXT.encode())
    else:
        exif = Image.Exif()
        exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = code + TEXT.encode(encoding)
        image.save(path, exif=exif)
    return path


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.png", {}),
        ("a.gif", {}),
        ("a.jpg", {}),
        ("b.jpg", {"encoding": "utf-16-le"}),
        ("c.jpg", {"code": b"\0" * 8, "encoding": "utf-8"}),
        ("a.webp", {}),
    ],
)
def test_pictures_of_the_webui_are_read(name, options, in_process, tmp_path):
    path = webui_picture(tmp_path / name, **options)
    found = read_png(path)
    assert (found.parameters, found.description) == (TEXT, {})
    assert (found.infotext.prompt, found.infotext.fields["Size-2"]) == ("a cell, ä", "768")
    if name == "a.png":
        done = in_process("engine", "png-info", path, "--json")
        answer = json.loads(done.stdout)
        assert answer["cytosynth"] is None
        assert answer["webui"]["fields"]["Sampler"] == "Euler a"
        assert "--like" in answer["command"]
        assert "Sampler: Euler a" in in_process("engine", "png-info", path).stdout


def test_every_option_of_the_command_comes_from_a_field_that_is_described(tiny_bundle):
    """A new setting that pictures depend on must reach their description."""
    settings = settings_of(sampler="langevin", clip_skip=2, emphasis="no_norm")
    job = make_job(open_bundle(str(tiny_bundle)), ["cyt_mast"], 1, settings)
    assert FLAGS.keys() == {*FLAGS} & {*describe(job, "cyt_mast"), "seed"}
    assert {"class", "steps", "langevin_steps_per_level", "guidance_scale", "threads", "bundle"} <= FLAGS.keys()
