"""Who may import whom, seen from a bare interpreter (import-linter holds the rest in `make check`)."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

import engine
from engine.cli.app import COMMANDS

HEAVY = ("torch", "diffusers", "transformers", "onnx", "scipy", "skimage", "trainer", "exporter", "evaluate")


def loaded_by(statement: str, whole: bool = False) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split()) if whole else {name.split(".")[0] for name in done.stdout.split()}


@pytest.mark.slow
def test_the_whole_engine_loads_no_training_framework():
    names = [module.name for module in pkgutil.walk_packages(engine.__path__, "engine.")]
    assert "engine.backends.tensorrt" in names
    names.remove("engine.__main__")
    assert loaded_by(f"import {', '.join(names)}").isdisjoint(HEAVY)


def test_no_telemetry_is_imported():
    """OpenVINO's package would report its import to Google Analytics, and ONNX Runtime has events of its own."""
    openings = "from engine.backends.select import probe\nprobe()\n"
    openings += "import evaluate.encoders.features, evaluate.studies.score"
    loaded = loaded_by(openings, whole=True)
    assert {"openvino", "onnxruntime"} <= loaded
    assert not {name for name in loaded if name.startswith("openvino_telemetry.")}


def test_the_command_line_loads_no_runtime_before_the_request_is_checked():
    modules = {place.partition(":")[0] for place in COMMANDS.values()}
    assert "openvino" not in loaded_by(f"import {', '.join(modules)}")


def test_the_package_loads_no_library_before_a_public_name_is_used():
    assert "numpy" not in loaded_by("import engine")
    assert "openvino" not in loaded_by(f"from engine import {', '.join(engine.__all__)}")
    assert not hasattr(engine, "nothing")
