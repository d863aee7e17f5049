"""Prompts of a user: what does not reach the text encoder is said, and what does is recorded."""

from __future__ import annotations

import json

import pytest

from engine import Engine
from engine.bundle.folder import open_bundle
from engine.bundle.job import make_job
from engine.bundle.settings import settings_of
from engine.output.provenance import describe

LONG = "cyt mast cyt mast cyt mast cyt mast"


def test_the_description_states_a_prompt_as_it_was_written(tiny_bundle):
    prompt = f"{LONG} (cyt:1.2)"
    job = make_job(open_bundle(str(tiny_bundle)), ["cyt_mast"], 1, settings_of(prompt=prompt, negative_prompt="[cyt]"))
    described = describe(job, "cyt_mast")
    assert (described["prompt"], described["negative_prompt"]) == (prompt, "[cyt]")
    assert ["tokens, more than the" in words for words in job.warnings] == [True]
    assert make_job(open_bundle(str(tiny_bundle)), ["cyt_mast"], 1, settings_of(prompt="(cyt:1.2) mast")).warnings == ()


def test_generate_warns_of_unknown_words_in_every_part(in_process, tiny_bundle, tmp_path):
    words = ["--bundle", tiny_bundle, "--class", "cyt_mast", "--n", 1, "--steps", 1]
    prompt = f"{LONG} BREAK [cyt:(blob:1.2):0.5]"
    done = in_process("engine", "generate", *words, "--prompt", prompt, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "never learnt: blob" in done.stderr
    assert json.loads((tmp_path / "out/metadata.jsonl").read_text())["prompt"] == prompt


def test_wrong_syntax_is_refused_before_anything_is_written(in_process, tiny_bundle, tmp_path):
    words = ["--bundle", tiny_bundle, "--class", "cyt_mast", "--n", 1, "--out", tmp_path / "out"]
    for flag, text in (("--prompt", "cyt (mast"), ("--negative-prompt", "cyt AND mast")):
        done = in_process("engine", "generate", *words, flag, text)
        assert done.returncode == 2
        assert f"error: {flag}\n" in done.stderr
        assert "at character 5" in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_library_warns_too(tiny_bundle):
    engine = Engine.open(str(tiny_bundle))
    with pytest.warns(UserWarning, match="never learnt: blob"):
        engine.job("cyt_mast", 1, prompt="blob")
