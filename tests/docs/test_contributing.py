"""CONTRIBUTING.md against the tree and the import contracts."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.conftest import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
LAYERS = {
    part: contract["layers"]
    for contract in CONTRACTS
    if contract["type"] == "layers"
    for part in contract.get("containers", ["all parts"])
}
ROW = re.compile(r"^\| (.*) \|$", re.MULTILINE)


def rows(heading):
    """Return the cells of the tables in a section."""
    section = TEXT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return [[cell.strip() for cell in line.split(" | ")] for line in ROW.findall(section)]


def code(cell):
    return re.findall(r"`([^`]+)`", cell)


def test_where_is_what_names_files_that_hold_what_is_asked_for():
    answers = [cells[1] for cells in rows("Where is what") if "?" in cells[0]]
    assert len(answers) >= 10
    for answer in answers:
        name, *rest = code(answer)
        paths = [name, *(word for word in rest if "/" in word)]
        assert [path for path in paths if not (ROOT / path).is_file()] == []
        text = (ROOT / name).read_text(encoding="utf-8")
        for word in rest:
            assert "/" in word or all(part in text for part in word.split(".")), f"{name} has no {word}"


@pytest.mark.parametrize("part", LAYERS)
def test_the_layers_are_those_of_the_contracts(part):
    (cells,) = [cells for cells in rows("The packages") if cells[0].strip("`") == part and len(cells) == 2]
    assert [code(layer) for layer in cells[1].split(";")] == [layer.split(" | ") for layer in LAYERS[part]]


@pytest.mark.parametrize("part", ["trainer", "evaluate"])
def test_the_allow_lists_of_the_contracts_are_named(part):
    (contract,) = [one for one in CONTRACTS if one.get("source_modules") == [part] and one["type"] == "forbidden"]
    allowed = {line.split(" -> ")[1].removeprefix("engine.").removesuffix(".*") for line in contract["ignore_imports"]}
    (cells,) = [cells for cells in rows("The packages") if cells[0] == f"`{part}/`"]
    assert allowed <= set(code(cells[2].split("of the engine:")[1].split(";")[0]))
