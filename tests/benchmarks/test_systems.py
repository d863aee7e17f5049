"""`bench`: only what computes the same is timed, in interleaved rounds; and the page that is made of its record."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from statistics import median
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.operations import count_operations
from benchmarks.rounds import Opened, System, compare
from engine.errors import CytosynthError
from exporter.load import load_merged
from tests.conftest import ROOT

PUBLISHED = ROOT / "docs/benchmarks"
STEPS, BATCH = 3, 2
OPTIONS = ["--batch-size", BATCH, "--steps", STEPS, "--rounds", 2, "--threads", 1]
PROGRAM = """#!{python}
import json, sys
asked = dict(zip(sys.argv[1::2], sys.argv[2::2]))
assert asked["--class"] == "cyt_mast" and int(asked["--batch"]) * int(asked["--streams"]) == 2
if {code}: sys.exit("error: the latents differ")
rate = {{"trajectory": 4.0, "decode": 8.0}}[asked["--mode"]]
json.dump({{"results": [{{"pictures_per_second": rate}}]}}, open(asked["--json"], "w"))
"""


def program(folder, code):
    """A stand-in for cyto_bench that denoises 4 pictures a second and decodes 8, or finds that it differs."""
    path = folder / "cyto_bench"
    path.write_text(PROGRAM.format(python=sys.executable, code=code))
    path.chmod(0o755)
    return path


@pytest.fixture(scope="module")
def record(command, whole_path, tiny_bundle, tmp_path_factory):
    """A comparison of every part, and the folder of its file."""
    folder = tmp_path_factory.mktemp("bench")
    parts = ["--part", "picture", "--part", "step", "--part", "decode", "--cyto-bench", folder / "absent"]
    chosen = ["--system", "engine", "--system", "ONNX", "--system", "cyto", "--system", "stable-diffusion.cpp"]
    options = ["--merged", whole_path / "merged/cyt_mast", *OPTIONS, *parts, *chosen]
    options += ["--record", folder / "peers_small.json"]
    done = command("benchmarks", "peers", tiny_bundle, *options, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((folder / "peers_small.json").read_text())
    assert found == json.loads(done.stdout)
    return folder, found


def test_every_system_computes_every_part(record):
    _, found = record
    assert [row["part"] for row in found["compared"]] == ["picture", "step", "decode"]
    counted = found["operations"]
    assert counted["picture"] == 2 * STEPS * counted["unet_row"] + counted["decode"]
    for row in found["compared"]:
        expected = {"diffusers float32", "ONNX Runtime float32", "engine openvino f32", "engine onnxruntime"}
        assert expected <= row["seconds"].keys()
        assert row["not_measured"]["diffusers bfloat16"] == "left out, as asked"
        assert all(len(values) == 2 for values in row["seconds"].values())
        for name in ("ONNX Runtime float32", "engine openvino f32", "engine onnxruntime"):
            deviation = row["deviation"][name]
            assert deviation < 0.01 if row["part"] == "step" else deviation > 40
        medians = {name: median(values) for name, values in row["seconds"].items()}
        best = min(seconds for name, seconds in medians.items() if name.startswith("diffusers"))
        for name, ratio in row["times_the_best_of_diffusers"].items():
            assert ratio == pytest.approx(best / medians[name])
            assert row["per_second"][name] == pytest.approx(BATCH / medians[name])
        (name,) = (name for name in row["not_measured"] if name.startswith("cyto_bench f32"))
        assert "not built (make cpp-bench)" in row["not_measured"][name]
        assert "engine tensorrt" in {*row["not_measured"], *row["seconds"]}
        assert "it knows in_channels 4" in row["not_measured"]["stable-diffusion.cpp float32"]


def make_page(records, page):
    command = [sys.executable, "-m", "benchmarks.pages.page", records, page]
    subprocess.run(command, check=True, capture_output=True, timeout=120)


def test_the_page_has_the_ratios_and_names_what_is_missing(record, tmp_path):
    folder, found = record
    shutil.copy(folder / "peers_small.json", tmp_path)
    page = tmp_path / "page.md"
    make_page(tmp_path, page)
    text = page.read_text()
    row = found["compared"][0]
    assert "| diffusers bfloat16 | left out, as asked | picture, batch 2; step, batch 2; decode, batch 2 |" in text
    ratio = f"{row['times_the_best_of_diffusers']['engine onnxruntime']:.2f}"
    line = next(line for line in text.splitlines() if line.startswith(f"| {BATCH} | engine onnxruntime |"))
    assert f"| {ratio} |" in line
    for name in ("stages.json", "scaling.json", "peers_full_size.json", "front.json", "presets.json"):
        assert f"`{name}` | no record; `" in text
    for link in ("plots/small_picture_limit.svg", "plots/small_step_limit.svg"):
        assert f"({link})" in text
        assert ElementTree.parse(tmp_path / link).getroot().tag.endswith("svg")  # noqa: S314 - our own file


def front_of(**settings):
    """A record of front.py: (pictures a second, FD-cyto) by setting."""

    def distance(value):
        return {"fake": {"value": value, "low": 0.9 * value, "high": 1.1 * value}}

    return {
        "machine": {"processor": "some", "cores": 2},
        "batch_size": 4,
        "bundle_sha256": "0" * 64,
        "real": "settings",
        "settings": {
            name.replace("_", " "): {
                "unet_rows": 40,
                "options": ["--steps", "20"],
                "pictures_per_second": rate,
                "times_the_default": rate / 2,
                "classes": {"cyst": {"n": 50, "FD-cyto": distance(fd), "KD-cyto": distance(fd / 100)}},
                "within": fd <= 11,
            }
            for name, (rate, fd) in settings.items()
        },
    }


def test_every_record_has_its_part_of_the_page_and_its_plot(tmp_path):
    shutil.copy(PUBLISHED / "stages.json", tmp_path)
    scaling = {"machine": {"processor": "some", "cores": 2}, "options": ["--class", "cyst"], "peak_mb": 351.2}
    rates = {"1": 0.5, "100": 4.0}
    scaling |= {"seconds": {"1": [2.0, 2.2, 1.9], "100": [25.0]}, "pictures_per_second": rates}
    (tmp_path / "scaling.json").write_text(json.dumps(scaling))
    front = front_of(default=(2.0, 10.0), preset_fast=(6.5, 10.5), **{"6_steps,_no_guidance": (9.0, 30.0)})
    (tmp_path / "front.json").write_text(json.dumps(front))
    (tmp_path / "presets.json").write_text(json.dumps(front_of(default=(2.0, 10.0), preset_fast=(6.5, 10.5))))
    pages = []
    for name in ("one.md", "two.md"):
        make_page(tmp_path, tmp_path / name)
        plots = {path.name: path.read_bytes() for path in (tmp_path / "plots").iterdir()}
        pages.append(((tmp_path / name).read_text(), plots))
    text, plots = pages[0]
    assert pages[1] == pages[0]
    assert set(plots) == {"stages.svg", "scaling.svg", "front_cyst.svg"}
    assert "| 100 | 25.0 | 1 | 4.00 |" in text
    assert "| preset fast | 40 | 6.50 | 3.25 | 10.5 [9.45, 11.6] | 0.105 [0.0945, 0.116] | yes |" in text
    assert "| 6 steps, no guidance | 40 | 9.00 | 4.50 | 30 [27, 33] | 0.3 [0.27, 0.33] | no |" in text
    intervals = "10 [9, 11] | 10.5 [9.45, 11.6] | 0.1 [0.09, 0.11] | 0.105 [0.0945, 0.116]"
    assert f"| `cyst` | 50 | {intervals} |" in text
    assert "`preset fast` --steps 20: 6.50 pictures a second, 3.25 times the default, within" in text
    (measured, *_) = json.loads((tmp_path / "stages.json").read_text())["measured"]
    assert f"| {measured['runtime']} | {measured['batch_size']} | {measured['picture_ms']:.1f} |" in text


def test_stages_that_were_guided_throughout(tmp_path):
    stages = json.loads((PUBLISHED / "stages.json").read_text())
    stages["request"] |= {"guidance_interval": None, "guidance_scale": 2.0}
    (tmp_path / "stages.json").write_text(json.dumps(stages))
    make_page(tmp_path, tmp_path / "page.md")
    assert f"guidance 2, {stages['rounds']} rounds" in (tmp_path / "page.md").read_text()


def test_a_system_of_other_weights_is_not_timed(in_process, whole_path, tiny_bundle, tmp_path):
    merged = shutil.copytree(whole_path / "merged/cyt_mast", tmp_path / "merged")
    (path,) = (merged / "unet").glob("*.safetensors")
    weights = load_file(path)
    weights["conv_out.weight"] *= 1.2
    save_file(weights, path, {"format": "pt"})
    options = ["--merged", merged, *OPTIONS, "--part", "step", "--system", "engine", "--json"]
    done = in_process("benchmarks", "peers", tiny_bundle, *options)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["compared"]
    assert {"engine openvino f32", "engine onnxruntime"} <= row["refused"].keys()
    assert not row["refused"].keys() & row["seconds"].keys()
    assert row["deviation"]["engine onnxruntime"] == pytest.approx(0.2 / 1.2, abs=0.05)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of diffusers' scheduler
def test_cyto_bench_is_a_system_unless_it_finds_that_it_differs(in_process, whole_path, tiny_bundle, tmp_path):
    options = ["--merged", whole_path / "merged/cyt_mast", *OPTIONS, "--json", "--system", "cyto", "--cyto-bench"]
    for code in (0, 1):
        done = in_process("benchmarks", "peers", tiny_bundle, *options, program(tmp_path, code))
        assert done.returncode == 0, done.stderr
        (row,) = json.loads(done.stdout)["compared"]
        name = "cyto_bench f32, no PNG files"
        if code:
            assert "the latents differ" in row["not_measured"][name]
            assert name not in row["seconds"]
        else:
            assert row["seconds"][name] == [0.75, 0.75]


def test_operations_are_those_that_torch_counts_while_it_computes(whole_path):
    merged = load_merged(whole_path / "merged/cyt_mast")
    counted = count_operations(merged.unet, merged.vae, 8)
    latents, context = torch.zeros(3, 4, 8, 8), torch.zeros(3, 8, 16)
    # The fused attention of a CPU is no operation that torch counts.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        merged.unet(latents, 5, context)
    assert counter.get_total_flops() == 3 * counted["unet_row"]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        merged.vae.decode(latents[:2])
    assert counter.get_total_flops() == 2 * counted["decode"]


def systems(calls, **seconds):
    """Systems that note when they run and say how long it took."""

    def system(name):
        def run():
            calls.append(name)
            return seconds[name], np.ones(2)

        return System(name, run)

    return Opened(systems=[system(name) for name in seconds])


def test_rounds_are_interleaved_and_a_slow_system_runs_once():
    calls: list[str] = []
    opened = systems(calls, **{"diffusers float32": 1.0, "slow": 9.0, "fast": 0.5})
    found = compare(opened, "step", rounds=3, cap_s=5.0)
    assert found["seconds"] == {"diffusers float32": [1.0] * 3, "slow": [9.0], "fast": [0.5] * 3}
    reference, slow, fast = "diffusers float32", "slow", "fast"
    first = [reference, reference, slow, slow, fast, fast]
    assert calls == [reference, slow, fast, *first, *[fast, fast, reference, reference] * 2]


def test_a_system_that_warms_up_by_itself_runs_once_a_round():
    calls: list[str] = []
    opened = systems(calls, **{"diffusers float32": 1.0, "own": 0.5})
    opened.systems[1] = replace(opened.systems[1], warms_up=True)
    compare(opened, "step", rounds=2, cap_s=5.0)
    assert (calls.count("diffusers float32"), calls.count("own")) == (5, 3)


def test_a_system_that_fails_between_rounds_leaves_the_others_be():
    opened = systems([], **{"diffusers float32": 1.0})
    answers = iter([(0.5, np.ones(2))] * 3)

    def run():
        if (answer := next(answers, None)) is None:
            raise RuntimeError("out of memory")
        return answer

    opened.systems.append(System("other", run))
    found = compare(opened, "step", rounds=3, cap_s=5.0)
    assert found["seconds"] == {"diffusers float32": [1.0] * 3}
    assert found["not_measured"] == {"other": "out of memory"}


@pytest.mark.parametrize(("tolerance", "timed"), [(None, False), (20.0, True)])
def test_a_system_may_have_a_tolerance_of_its_own(tolerance, timed):
    """28 dB between pictures, of which 30 are asked."""
    picture = np.full((1, 8, 8, 3), 100, np.uint8)

    def system(name, result):
        return System(name, lambda: (0.5, result), tolerance=tolerance)

    opened = Opened(systems=[system("diffusers float32", picture), system("other", picture + np.uint8(10))])
    found = compare(opened, "picture", rounds=1, cap_s=5.0)
    assert ("other" in found["seconds"], "other" in found["refused"]) == (timed, not timed)


def test_nothing_is_compared_without_the_reference():
    with pytest.raises(CytosynthError, match="diffusers float32"):
        compare(systems([], fast=1.0), "step", rounds=1, cap_s=5.0)


WRONG = {
    "no rounds": (["--rounds", 0], "above 0"),
    "no batch": (["--batch-size", "0"], "above 0"),
    "no such system": (["--system", "engnie"], "diffusers float32"),
    "a guided step without guidance": (["--part", "step", "--guidance-scale", 1], "--guidance-scale"),
    "no such part": (["--part", "encode"], "picture, step, decode"),
    "no folder for the record": (["--record", "/nowhere/at/all.json"], "no folder"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_comparison_is_refused(case, in_process, tiny_bundle, whole_path):
    extra, words = WRONG[case]
    done = in_process("benchmarks", "peers", tiny_bundle, "--merged", whole_path / "merged/cyt_mast", *extra)
    assert done.returncode == 2
    assert words in done.stderr
