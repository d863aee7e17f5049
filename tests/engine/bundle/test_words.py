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


def test_the_description_states_the_part_of_a_prompt_that_is_used(tiny_bundle):
    job = make_job(open_bundle(str(tiny_bundle)), ["cyt_mast"], 1, settings_of(prompt=LONG, negative_prompt=LONG))
    used = "cyt mast cyt mast cyt mast"
    assert (job.request.prompt, job.request.negative_prompt) == (used, used)
    assert describe(job, "cyt_mast")["prompt"] == used
    assert [words.split()[0] for words in job.warnings] == ["--prompt", "--negative-prompt"]
    assert job.changed(seed=3).warnings == job.warnings


def test_generate_warns_and_records_what_was_used(in_process, tiny_bundle, tmp_path):
    words = ["--bundle", tiny_bundle, "--class", "cyt_mast", "--n", 1, "--steps", 1, "--prompt", f"{LONG} dark"]
    done = in_process("engine", "generate", *words, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "It was cut" in done.stderr
    assert json.loads((tmp_path / "out/metadata.jsonl").read_text())["prompt"] == "cyt mast cyt mast cyt mast"
    done = in_process("engine", "generate", *words[:-1], "cyt blob", "--out", tmp_path / "other")
    assert done.returncode == 0, done.stderr
    assert "never learnt: blob" in done.stderr


def test_the_library_warns_too(tiny_bundle):
    engine = Engine.open(str(tiny_bundle))
    with pytest.warns(UserWarning, match="never learnt: blob"):
        engine.job("cyt_mast", 1, prompt="blob")
