"""Limits that keep the code readable: lines of a file and of a function, parameters of a signature."""

from __future__ import annotations

import ast
import subprocess

from tests.conftest import LONG_FILES, ROOT

MAX_FILE_LINES = 350
MAX_FUNCTION_LINES = 70
MAX_PARAMETERS = 8
SOURCES = (".py", ".h", ".cpp", ".sh")


def tracked(*endings):
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    return [ROOT / name for name in names if name.endswith(endings) and (ROOT / name).is_file()]


def functions(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", node


def test_no_file_is_too_long():
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in tracked(*SOURCES)}
    assert len(lines) > 200
    assert [f"{path.relative_to(ROOT)}: {count}" for path, count in lines.items() if count > MAX_FILE_LINES] == []


def test_no_function_is_too_long():
    found = [(name, node.end_lineno - node.lineno + 1) for path in tracked(".py") for name, node in functions(path)]
    assert len(found) > 1000
    assert [f"{name}: {count}" for name, count in found if count > MAX_FUNCTION_LINES] == []


def test_no_signature_has_too_many_parameters():
    found = []
    for path in tracked(".py"):
        for name, node in functions(path):
            names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            found.append((name, len([word for word in names if word not in ("self", "cls")])))
    assert [f"{name}: {count}" for name, count in found if count > MAX_PARAMETERS] == []


def test_no_test_changes_where_python_looks_for_modules():
    """A test that needs a stand-in puts it into `sys.modules`; the search path is that of a user's process."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in tracked(".py")
        if path.is_relative_to(ROOT / "tests")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and (node.attr == "syspath_prepend" or ast.unparse(node) == "sys.path")
    ]
    assert found == []


def test_the_files_that_start_first_exist():
    assert [name for name in LONG_FILES if not (ROOT / name).is_file()] == []
