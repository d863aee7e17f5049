"""Every script explains itself, and refuses missing arguments with a usage message and exit code 2."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

SCRIPTS = sorted(
    path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
    for folder in ("benchmarks", "recipes")
    for path in (ROOT / folder).rglob("*.py")
    if path.parent.name != "examples" and "if __name__ ==" in path.read_text(encoding="utf-8")
)
WITHOUT_ARGUMENTS = {"benchmarks.pages.page", "benchmarks.scripts.lora_size", "benchmarks.scripts.scale"}
"""Scripts whose arguments all have defaults."""
NEEDS = {"benchmarks.scripts.int8": "nncf", "benchmarks.scripts.workers": "ray"}


def test_there_are_scripts():
    assert len(SCRIPTS) > 20


@pytest.mark.parametrize("module", SCRIPTS)
def test_the_docstring_shows_the_command(module):
    text = (ROOT / module.replace(".", "/")).with_suffix(".py").read_text(encoding="utf-8")
    doc = ast.get_docstring(ast.parse(text), clean=False)
    assert re.search(rf"^ *python -m {re.escape(module)} ", doc, re.MULTILINE)


@pytest.mark.parametrize("module", [name for name in SCRIPTS if name not in WITHOUT_ARGUMENTS])
def test_missing_arguments_are_a_usage_message(module, capfd, monkeypatch):
    if module in NEEDS:
        pytest.importorskip(NEEDS[module], reason=f"needs {NEEDS[module]}: pip install {NEEDS[module]}")
    monkeypatch.setattr(sys, "argv", [module])
    script = importlib.import_module(module)
    with pytest.raises(SystemExit) as caught:
        script.main()
    assert caught.value.code == 2
    assert f"usage: python -m {module}" in capfd.readouterr().err.lower().replace("usage: ", "usage: ")


def test_a_record_in_a_missing_folder_is_refused_at_once(tmp_path):
    command = [sys.executable, "-m", "benchmarks.scripts.start_up", str(tmp_path / "nowhere/record.json")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert "does not exist" in done.stderr


SHELL = [path.relative_to(ROOT) for folder in ("benchmarks", "recipes") for path in (ROOT / folder).rglob("*.sh")]


@pytest.mark.parametrize("script", SHELL, ids=str)
def test_shell_scripts_parse_and_name_modules_that_exist(script):
    assert subprocess.run(["bash", "-n", ROOT / script]).returncode == 0
    text = (ROOT / script).read_text(encoding="utf-8")
    for module in re.findall(r"-m ((?:benchmarks|recipes|engine|trainer|exporter|evaluate)[\w.]*)", text):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module
    for name in re.findall(r"(?:docs|recipes|benchmarks)/[\w/]+\.(?:sh|py)", text):
        assert (ROOT / name).is_file(), name
