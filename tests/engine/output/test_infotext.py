"""The grammar of AUTOMATIC1111's text: cases of the WebUI, and random texts that are written and read again."""

from __future__ import annotations

import random

import pytest

from engine.output.infotext import (
    Infotext,
    parse_infotext,
    sampler_of,
    schedule_of,
    split_sampler,
    with_defaults,
    write_infotext,
)

WEBUI = """masterpiece, (cell:1.2)
second line
Negative prompt: blurry,
ugly
Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 965400086, Size: 512x768, \
Model hash: 45dee52b, Model: v1-5, Hires prompt: "a, \\"b\\": c\\nd", Hires resize: 1024x0, ENSD: , Version: v1.10.1"""


def test_a_text_of_the_webui_is_read():
    found = parse_infotext(WEBUI)
    assert found.prompt == "masterpiece, (cell:1.2)\nsecond line"
    assert found.negative_prompt == "blurry,\nugly"
    assert (found.fields["Size-1"], found.fields["Size-2"]) == ("512", "768")
    assert (found.fields["Hires resize-1"], found.fields["Hires resize-2"]) == ("1024", "0")
    assert found.fields["Hires prompt"] == 'a, "b": c\nd'
    assert found.fields["Steps"] == "20"
    assert not found.fields.keys() & {"Size", "ENSD", "Hires resize"}


@pytest.mark.parametrize(
    ("text", "prompt", "negative", "fields"),
    [
        ("", "", "", {}),
        ("a cell", "a cell", "", {}),
        # Two pairs are words of a prompt, three are settings.
        ("a\nSteps: 1, Seed: 2", "a\nSteps: 1, Seed: 2", "", {}),
        ("a\nSteps: 1, Seed: 2, Model: x", "a", "", {"Steps": "1", "Seed": "2", "Model": "x"}),
        ("Steps: 1, Seed: 2, Model: x", "", "", {"Steps": "1", "Seed": "2", "Model": "x"}),
        ("Negative prompt: b\nSteps: 1, Seed: 2, Model: x", "", "b", {"Steps": "1", "Seed": "2", "Model": "x"}),
        ("a\nNegative prompt: b\nNegative prompt: c", "a", "b\nNegative prompt: c", {}),
        # A key has two signs or more, a broken JSON string stays as it is.
        ('A: 1, Bb: 2, Cc-d/e f: 3, Dd: "x, Ee: y', "", "", {"Bb": "2", "Cc-d/e f": "3", "Dd": '"x', "Ee": "y"}),
        ("Aa: 1x2, Bb: 1x2x3, Cc: 4", "", "", {"Aa-1": "1", "Aa-2": "2", "Bb": "1x2x3", "Cc": "4"}),
    ],
)
def test_the_grammar(text, prompt, negative, fields):
    assert parse_infotext(text) == Infotext(prompt, negative, fields)


def test_it_is_written_as_the_webui_writes():
    fields = {
        "Steps": 20,
        "Face restoration": None,
        "Model": "a, b",
        "Tiling": "Tiling",
        "Note": 'say "x"',
        "RNG": "ß:",
    }
    assert write_infotext("p", "n", fields) == (
        'p\nNegative prompt: n\nSteps: 20, Model: "a, b", Tiling, Note: say "x", RNG: "ß:"'
    )
    assert write_infotext("", "", {"Steps": 20}) == "Steps: 20"


def random_text(rng, letters, most):
    return "".join(rng.choice(letters) for _ in range(rng.randrange(most))).strip()


@pytest.mark.parametrize("seed", range(300))
def test_what_is_written_is_read(seed):
    rng = random.Random(seed)  # noqa: S311 - no secret
    letters = 'ab1(:.5)[|], "\\\n\täя€<>'
    prompt, negative = random_text(rng, letters, 60), random_text(rng, letters, 40)
    fields = {}
    for number in range(rng.randrange(3, 9)):
        value = random_text(rng, letters, 12)
        # The WebUI writes a text that begins with a quotation mark as it is, and reads it as JSON.
        if value and not value.startswith('"'):
            fields[f"Key {number}"] = value
    fields |= {"Steps": "20", "Seed": str(rng.randrange(2**32)), "Version": "v1.10.1"}
    assert parse_infotext(write_infotext(prompt, negative, fields)) == Infotext(prompt, negative, fields)


@pytest.mark.parametrize("seed", range(100))
def test_any_text_can_be_read(seed):
    rng = random.Random(seed)  # noqa: S311 - no secret
    words = ["Negative prompt:", "Steps: 1", ", ", "\n", '"', "\\", "Size: 1x2", "{", "a", "Aa:", ":", "\x00"]
    found = parse_infotext("".join(rng.choice(words) for _ in range(40)))
    assert all(isinstance(value, str) and value for value in found.fields.values())


def test_names_of_samplers_and_schedules():
    assert split_sampler("DPM++ 2M Karras") == ("DPM++ 2M", "Karras")
    assert split_sampler("Euler a") == ("Euler a", None)
    assert [sampler_of(name) for name in ("DPM++ 2M", "euler A", "k_euler_ancestral", "k_dpm_2", "Turbo")] == [
        "dpmpp_2m",
        "euler_a",
        "euler_a",
        "dpm2",
        None,
    ]
    names = ("Automatic", "karras", "Uniform", "SGM Uniform", "SGMUniform", "Turbo")
    assert [schedule_of(name, "leading") for name in names] == [
        "leading",
        "karras",
        "uniform",
        "sgm_uniform",
        "sgm_uniform",
        None,
    ]


def test_defaults_are_added_and_hires_is_judged_before():
    plain = parse_infotext("x\nSteps: 20, Seed: 1, Denoising strength: 0.7")
    assert not plain.hires
    assert parse_infotext("x\nSteps: 20, Denoising strength: 0.7, Hires upscale: 2").hires
    answer = with_defaults(plain)
    assert (answer["Steps"], answer["Schedule type"], answer["Hires resize-1"]) == ("20", "Automatic", 0)
    assert "Emphasis" not in answer
    assert with_defaults(parse_infotext("(x)"))["Emphasis"] == "Original"
