"""The wheel alone, in an empty environment: it generates, and it holds the engine and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
import zipfile

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow


def test_the_wheel_installs_alone_and_generates(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, ROOT], check=True, capture_output=True
    )
    (wheel,) = tmp_path.glob("cytosynth-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"engine"}
    assert "engine/bundles/cells/manifest.json" in names
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    install = [python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", wheel]
    done = subprocess.run(install, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    generate = [tmp_path / "venv/bin/engine", "generate", "--class", "cyt_mast", "--n", "2", "--steps", "3", "--json"]
    done = subprocess.run(generate, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["trained_on"] == {"cyt_mast": "phantom"}
    assert len(list((tmp_path / "out/cyt_mast").glob("*.png"))) == 2
    frozen = subprocess.run([python, "-m", "pip", "list"], capture_output=True, text=True, check=True)
    assert "torch" not in frozen.stdout
