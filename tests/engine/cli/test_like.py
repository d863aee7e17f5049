"""`engine generate --like`: our pictures again, the WebUI's settings, and what cannot be taken over."""

from __future__ import annotations

import json

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from engine.cli.like import settings_of_infotext
from engine.errors import RequestError
from engine.output.infotext import parse_infotext
from engine.pictures import PNG_KEY


@pytest.fixture(scope="module")
def picture(in_process, tiny_bundle, tmp_path_factory):
    """A picture of this engine with many settings, the second of its run."""
    out = tmp_path_factory.mktemp("like") / "run"
    words = ["--bundle", tiny_bundle, "--class", "cyt_mast", "--n", 2, "--seed", 5, "--steps", 4, "--batch-size", 2]
    words += ["--sampler", "euler_a", "--guidance-interval", 0, 1e6, "--guidance-scale", 3, "--precision", "f32"]
    words += ["--prompt", "[cyt (mast:1.2):cyt nep mast:0.5]", "--negative-prompt", "nep", "--emphasis", "no_norm"]
    words += ["--variation-strength", 0.2, "--variation-seed", 9, "--noise-size", 32, 32]
    done = in_process("engine", "generate", *words, "--width", 48, "--out", out)
    assert done.returncode == 0, done.stderr
    return out / "cyt_mast/000001.png"


def test_a_picture_of_this_engine_is_made_again_to_the_byte(picture, in_process, tiny_bundle, tmp_path):
    done = in_process("engine", "generate", "--like", picture, "--bundle", tiny_bundle, "--out", tmp_path / "again")
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    assert (tmp_path / "again/cyt_mast/000000.png").read_bytes() == picture.read_bytes()


def test_options_that_are_given_override_the_picture(picture, in_process, tiny_bundle, tmp_path):
    words = ["--like", picture, "--bundle", tiny_bundle, "--class", "cyt_nep_mast", "--seed", 0, "--steps", 2]
    words += ["--variation-strength", 0]
    done = in_process("engine", "generate", *words, "--n", 3, "--out", tmp_path / "other")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "other/metadata.jsonl").read_text().splitlines()]
    assert [(row["class"], row["seed"], row["steps"], row["sampler"], row["width"]) for row in rows] == [
        ("cyt_nep_mast", seed, 2, "euler_a", 48) for seed in range(3)
    ]


def test_another_bundle_is_refused_unless_it_is_named(picture, in_process, tmp_path, bundle_copy):
    done = in_process("engine", "generate", "--like", picture, "--out", tmp_path / "x")
    assert done.returncode == 2
    assert "error: --bundle" in done.stderr
    manifest = bundle_copy / "manifest.json"
    manifest.write_text(manifest.read_text() + "\n")
    done = in_process("engine", "generate", "--like", picture, "--bundle", bundle_copy, "--out", tmp_path / "y")
    assert done.returncode == 0, done.stderr
    assert "another picture" in done.stderr


def described(path, **description):
    """Write a picture with a description of this engine."""
    info = PngInfo()
    info.add_itxt(PNG_KEY, json.dumps(description))
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    return path


@pytest.mark.parametrize(
    ("description", "words"),
    [
        ({"class": "cyt_mast", "later_field": 1}, "later_field"),
        ({"class": "cyt_mast", "seed": "5"}, "field seed"),
        ({"class": "cyt_mast", "derived": True, "initial_picture": "cell.png", "initial_sha256": "ab12"}, "add --init"),
    ],
)
def test_what_a_picture_needs_and_is_not_there_is_named(description, words, in_process, tiny_bundle, tmp_path):
    path = described(tmp_path / "x.png", **description)
    done = in_process("engine", "generate", "--like", path, "--bundle", tiny_bundle, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert words in done.stderr
    assert not (tmp_path / "out").exists()


def settings_for(text, *given):
    return settings_of_infotext(parse_infotext(f"cyt\n{text}"), given.__contains__)


def test_the_settings_of_a_picture_of_the_webui():
    line = "Steps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7.5, Seed: 5, Size: 512x768, Clip skip: 2, RNG: NV"
    values, warnings = settings_for(f"Negative prompt: blur\n{line}")
    assert warnings == []
    assert values == {
        "prompt": "cyt",
        "negative_prompt": "blur",
        "num_inference_steps": 20,
        "sampler": "dpmpp_2m",
        "schedule": "karras",
        "guidance_scale": 7.5,
        "guidance_interval": (0.0, 1e6),
        "seed": 5,
        "width": 512,
        "height": 768,
        "clip_skip": 2,
        "rng": "nv",
    }


def test_automatic_is_the_native_schedule_of_the_sampler():
    for sampler, wanted in (("DPM++ 2M", "karras"), ("Euler", "normal"), ("DDIM", "leading")):
        for schedule in ("", ", Schedule type: Automatic"):
            values, _ = settings_for(f"Steps: 20, Sampler: {sampler}{schedule}, Seed: 5")
            assert values["schedule"] == wanted


def test_everything_that_is_not_taken_over_is_named():
    line = "Steps: 20, Sampler: Euler, Seed: 5, Model: v1-5, Denoising strength: 0.7, Hires upscale: 2, RNG: CPU"
    _, warnings = settings_for(line)
    said = "\n".join(warnings)
    assert all(word in said for word in ("Model 'v1-5'", "Denoising strength", "Hires upscale", "hires fix", "RNG CPU"))
    values, warnings = settings_of_infotext(
        parse_infotext("a <other:x:1> cell <lora:y:0.5>\nSteps: 1, Seed: 2, Version: v1"), lambda name: False
    )
    assert values["prompt"].split() == ["a", "cell", "<lora:y:0.5>"]
    assert warnings == ["the networks <other:x:1> are not known and not applied"]


@pytest.mark.parametrize(
    ("line", "flag", "words"),
    [
        ("Steps: 20, Sampler: DPM adaptive, Seed: 5", "sampler", "DPM adaptive: it chooses each step"),
        ("Steps: 20, Sampler: Euler, Schedule type: Turbo, Seed: 5", "schedule", "Turbo"),
        ("Steps: many, Sampler: Euler, Seed: 5", "num_inference_steps", "many"),
    ],
)
def test_what_this_engine_does_not_have_is_an_error_unless_it_is_given(line, flag, words):
    with pytest.raises(RequestError, match=words):
        settings_for(line)
    settings_for(line, flag)


def of_webui(path, prompt):
    """Write a picture of the WebUI with a prompt."""
    info = PngInfo()
    info.add_text("parameters", f"{prompt}\nSteps: 1, Sampler: Euler, CFG scale: 1, Seed: 9, Size: 32x32")
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    return path


def test_a_tag_in_a_picture_of_the_webui_selects_the_class_of_this_adapter(in_process, tiny_bundle, tmp_path):
    path = of_webui(tmp_path / "x.png", "cyt <hypernet:cyt_nep_mast:1>")
    words = ["--like", path, "--bundle", tiny_bundle, "--class", "cyt_mast", "--threads", 1]
    done = in_process("engine", "generate", *words, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr
    (row,) = [json.loads(line) for line in (tmp_path / "out/metadata.jsonl").read_text().splitlines()]
    assert (row["class"], row["prompt"]) == ("cyt_nep_mast", "cyt")


@pytest.mark.parametrize("tag", ["<hypernet:cyt_nep_mast:0.5>", "<lora:grain:0.8>"])
def test_a_tag_in_a_picture_of_the_webui_is_refused_if_no_class_has_this_adapter(
    tag, in_process, tiny_bundle, tmp_path
):
    path = of_webui(tmp_path / "x.png", f"cyt {tag}")
    words = ["--like", path, "--bundle", tiny_bundle, "--class", "cyt_mast"]
    done = in_process("engine", "generate", *words, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert tag in done.stderr
    assert "<hypernet:cyt_nep_mast:1> (class cyt_nep_mast)" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_picture_of_the_webui_gives_its_settings_to_a_class(in_process, tiny_bundle, tmp_path):
    info = PngInfo()
    text = (
        "cyt (mast:1.3)\nNegative prompt: nep\nSteps: 3, Sampler: Euler a, CFG scale: 2, Seed: 9, Size: 48x32, Model: m"
    )
    info.add_text("parameters", text)
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png", pnginfo=info)
    words = ["--like", tmp_path / "x.png", "--bundle", tiny_bundle]
    assert "--class" in in_process("engine", "generate", *words, "--out", tmp_path / "none").stderr
    done = in_process("engine", "generate", *words, "--class", "cyt_mast", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "Model 'm' is not taken over" in done.stderr
    row = json.loads((tmp_path / "out/metadata.jsonl").read_text())
    taken = ("prompt", "negative_prompt", "steps", "sampler", "schedule", "seed", "width", "height", "rng")
    assert [row[name] for name in taken] == ["cyt (mast:1.3)", "nep", 3, "euler_a", "normal", 9, 48, 32, "nv"]
