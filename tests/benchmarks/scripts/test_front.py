"""Settings of the comparison of quality and cost, and which of them are as good as the default."""

from __future__ import annotations

from benchmarks.scripts.front import Scored, options_of, settings, within
from engine.bundle.folder import open_bundle
from engine.bundle.job import make_job
from engine.bundle.settings import settings_of
from evaluate.studies.score import Figure, Score


def scored(fd, kd):
    def one(value):
        return Score(Figure(1, 1, 1), Figure(value, 0.9 * value, 1.1 * value), {}, {})

    return Scored(50, {"FD-cyto": one(fd), "KD-cyto": one(kd)})


def test_a_setting_is_within_if_no_class_exceeds_an_interval_of_the_default():
    default = {"one": scored(10, 1), "two": scored(20, 2)}
    assert within({"one": scored(10.9, 1.05), "two": scored(5, 2)}, default)
    assert not within({"one": scored(10, 1), "two": scored(20, 2.3)}, default)
    assert scored(10, 1).as_json()["FD-cyto"]["fake"] == {"value": 10, "low": 9, "high": 11}


def test_every_setting_is_a_request_whose_options_make_it_again(tiny_bundle):
    bundle = open_bundle(str(tiny_bundle))
    chosen = settings(bundle)
    assert next(iter(chosen)) == "default"
    for name in ("default", "6 steps", "10 steps, no guidance", "euler, 20 steps"):
        request = make_job(bundle, ["cyt_mast"], 1, settings_of(**chosen[name])).request
        words = options_of(request)
        assert words[words.index("--steps") + 1] == str(request.num_inference_steps)
        assert words[words.index("--sampler") + 1] == request.sampler
