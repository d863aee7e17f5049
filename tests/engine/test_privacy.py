"""No command of any part starts a library's telemetry. Pictures of patients may lie on the machine."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from importlib import import_module

import pytest

from engine.privacy import SWITCHES
from tests.conftest import COMMAND_LINES, ROOT
from tests.quiet import SUPPORTED
from tests.test_house import PARTS

OWN_CACHES = {"cytosynth", "matplotlib", "fontconfig"}
"""What may appear in the user's cache: the engine's compiled graphs, and the list of fonts for plots."""


def commands_of(path, bundle, out):
    """Return command lines of every command of every part. Those that would take long are refused after the imports."""
    prepared, merged = path / "prepared", path / "merged/cyt_mast"
    real, other, gone = prepared / "cyt_mast", prepared / "cyt_nep_mast", out / "missing"
    weights, base = path / "hypernetworks/cyt_mast.safetensors", ["--base", path / "base"]
    of_class = ["--bundle", bundle, "--class", "cyt_mast"]
    generate = ["generate", *of_class, "--n", 2, "--steps", 1, "--batch-size", 1]
    fit = ["--steps", 1, "--batch-size", 1, "--origin", "phantom", "--pictures", 24, *base]
    few = ["--steps", 1, "--rounds", 1, "--backend", "openvino", "--backend", "onnxruntime"]
    behind = ["match", weights], ["refine"], ["match-decoder", weights, "--few-steps", weights]
    return {
        "engine": [
            ["doctor"],
            [*generate, "--backend", "onnxruntime", "--out", out / "run"],
            [*generate, "--prompt", "a cell", "--out", out / "prompt"],
            ["upscale", out / "run/cyt_mast", *of_class, "--steps", 1, "--out", out / "upscaled"],
            ["grid", *of_class, "--x", "steps=1,2", "--out", out / "grid"],
            ["bench", bundle, *few],
            ["reference", bundle, "--class", "cyt_mast", "--steps", 1, "--out", out / "reference.safetensors"],
            ["serve", "--bundle", bundle, "--host", "192.168.0.1", "--data", out / "served"],
            ["info", bundle],
            ["verify", bundle],
            ["sheet", out / "run"],
            ["merge-runs", out / "run"],
            ["png-info", out / "run/cyt_mast/0000.png"],
        ],
        "trainer": [
            ["phantom", out / "phantom", "--class", "cyt_mast", "--n", 2, "--size", 32],
            ["prepare", real, out / "prepared", "--size", 32],
            ["pretrain", out / "missing", "--out", out / "base"],
            ["adapt", out / "missing", "--out", out / "adapted", *base],
            ["fit", real, "--out", out / "fit", *fit],
            ["embed", out / "missing", "--out", out / "embed", *fit],
            ["merge", weights, "--out", out / "merged", *base],
            ["merge-checkpoints", weights, weights, "--out", out / "merged.safetensors"],
            ["extract-lora", weights, weights, "--rank", 1, "--out", out / "lora.safetensors"],
            ["convert", weights, out / "cyt_mast.pt"],
            ["likelihood", merged, out / "missing"],
            *([command, gone, "--out", out / f"{command}.json"] for command in ("table", "distill", "shrink")),
            *([*one, merged, "--photographs", gone, "--out", out] for one in behind),
            ["inspect", weights],
            ["encoder", real, other, "--out", out / "cyt_mast.pt/encoder.onnx", "--attribution", "cytosynth"],
        ],
        "exporter": [
            ["onnx", out / "missing", "--out", out / "bundle"],
            ["int8", out / "missing"],
            ["preset", bundle, "fast"],
            ["tensorrt", out / "missing"],
            ["verify", bundle, "--merged", merged],
            ["inspect", bundle],
            ["drift", bundle, "--class", "missing"],
            ["plans", "list", bundle],
        ],
        "evaluate": [
            ["score", real, other, "--n", 4],
            ["probe", real, out / "missing"],
            ["blind", real, other, "--out", out / "blind.html"],
            ["copies", real, "--train", other, "--held-out", other],
            ["morphology", real, other, "--out", out / "record"],
            ["masks", real, "--region", "cell", "--out", out / "masks"],
            ["utility", "--real", prepared, "--synthetic", prepared, "--held-out", prepared],
            ["judge", prepared, "--train", prepared, "--held-out", prepared],
            ["curve", path / "hypernetworks", "--real", prepared, "--out", out / "curve", *base],
            ["report", out / "record", "--out", out / "report.html"],
            ["weights", out / "missing/weights.npz"],
        ],
        "benchmarks": [["peers", bundle, "--merged", out], ["training", "--base", out]],
    }


@pytest.mark.slow
@pytest.mark.skipif(not SUPPORTED, reason="needs Linux's filter of system calls on x86-64 or aarch64")
def test_no_command_connects_anywhere_or_leaves_an_identifier(whole_path, bundle_copy, tmp_path):
    """The kernel ends the process at the first connection or DNS query, in native code too (tests/quiet.py)."""
    home, cache, out = tmp_path / "home", tmp_path / "cache", tmp_path / "out"
    out.mkdir()
    home.mkdir()
    commands = commands_of(whole_path, bundle_copy, out)
    for part, lines in commands.items():
        app = import_module(COMMAND_LINES[part]).app
        names = {command.name or command.callback.__name__ for command in app.registered_commands}
        names |= {group.name for group in app.registered_groups}
        assert {words[0] for words in lines} == names, f"a command of {part} is not tried"
    lines = [[part, *map(str, words)] for part, some in commands.items() for words in some]
    (tmp_path / "commands.json").write_text(json.dumps(lines))
    environment = {name: value for name, value in os.environ.items() if name not in {"CI", "GITHUB_ACTIONS", *SWITCHES}}
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(cache), "OMP_NUM_THREADS": "1"}
    environment["USER"] = "reader"  # torch would ask the machine's name service for the name
    done = subprocess.run(
        [sys.executable, "-m", "tests.quiet", tmp_path / "commands.json"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=300,
    )
    assert done.returncode == 0, f"{done.returncode}: {done.stderr[-2000:]}"
    codes = dict(zip([" ".join(words[:2]) for words in lines], json.loads(done.stdout.splitlines()[-1]), strict=True))
    assert {"engine generate", "trainer fit", "trainer merge", "exporter verify", "evaluate score"} <= {
        name for name, code in codes.items() if code == 0
    }, done.stderr
    assert {path.name for path in cache.iterdir()} <= OWN_CACHES
    assert [str(path) for path in home.rglob("*") if path.is_file()] == []


def test_the_filter_ends_a_process_that_asks_for_an_address():
    script = "from tests.quiet import forbid_sending\nforbid_sending()\nimport socket\n"
    script += "socket.getaddrinfo('cytosynth.invalid', 80)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode < 0, done.stderr


def test_every_part_switches_telemetry_off_before_it_imports_anything_else():
    for part in PARTS:
        body = ast.parse((ROOT / part / "__init__.py").read_text()).body
        imports = [ast.unparse(node) for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
        # engine.installation imports the standard library only.
        assert next(words for words in imports if words != "import engine.installation") == "import engine.privacy", (
            part
        )


def test_the_libraries_take_the_switches():
    """The names of the switches are those that the installed versions read."""
    script = "import engine, huggingface_hub.constants as hub, sys\n"
    script += "print(hub.HF_HUB_DISABLE_TELEMETRY, sys.modules['openvino_telemetry'])"
    environment = {**os.environ, **dict.fromkeys(SWITCHES, "0"), "RAY_USAGE_STATS_ENABLED": "1"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.stdout == "True None\n", done.stderr
    ray = pytest.importorskip("ray._common.usage.usage_lib")
    assert not ray.usage_stats_enabled()
