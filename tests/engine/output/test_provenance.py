"""The texts inside a picture: the engine's own description, and the line that AUTOMATIC1111's WebUI reads."""

from __future__ import annotations

import json

from engine.bundle.folder import open_bundle
from engine.bundle.job import make_job
from engine.bundle.settings import settings_of
from engine.output.provenance import describe, parameters_line, png_text


def description_of(bundle_folder, **options):
    job = make_job(open_bundle(str(bundle_folder)), ["cyt_mast"], 2, settings_of(**options))
    return {**describe(job, "cyt_mast"), "seed": 7}


def test_optional_settings_are_described_only_if_they_are_used(tiny_bundle):
    plain = description_of(tiny_bundle)
    assert plain["synthetic"] is True
    assert (plain["prompt"], plain["prompt_given"]) == ("cyt mast", False)
    assert not plain.keys() & {"guidance_interval", "langevin_step_size"}
    other = description_of(tiny_bundle, sampler="langevin", guidance_interval=(0.5, 5.0), prompt="cell")
    assert (other["prompt"], other["prompt_given"], other["guidance_interval"]) == ("cell", True, [0.5, 5.0])
    assert other.keys() - plain.keys() == {"guidance_interval", "langevin_step_size", "langevin_steps_per_level"}


def test_the_webuis_line_quotes_what_would_break_it(tiny_bundle):
    description = {**description_of(tiny_bundle, negative_prompt="blur"), "bundle": "cells, v2"}
    prompt, negative, settings = parameters_line(description).split("\n")
    assert (prompt, negative) == ("cyt mast", "Negative prompt: blur")
    assert 'Model: "cells, v2 cyt_mast"' in settings
    assert "Seed: 7, Size: 32x32" in settings


def test_the_description_is_json_in_any_script(tiny_bundle):
    chunks = png_text(description_of(tiny_bundle, prompt="яд")).chunks
    text = next(content for kind, content, *_ in chunks if kind == b"iTXt" and content.startswith(b"cytosynth\0"))
    assert json.loads(text[text.index(b"{") :])["prompt"] == "яд"
