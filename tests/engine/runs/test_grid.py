"""Grids as runs beside each other: their order, and what happens to one that was interrupted."""

from __future__ import annotations

import json
import threading

import pytest

from engine.bundle.axes import parse_axis
from engine.bundle.folder import open_bundle
from engine.bundle.settings import settings_of
from engine.errors import RequestError
from engine.runs.grid import GRID, plan_grid, run_grid


@pytest.fixture
def plan(tiny_bundle, tmp_path):
    """Return the function that plans a grid of these axes."""

    def planned(folder="grid", *, classes=("cyt_mast",), seed=3, **texts):
        axes = {name: parse_axis(f"--{name}", text) for name, text in texts.items()}
        settings = settings_of(seed=seed, num_inference_steps=1, backend="openvino", precision="f32")
        return plan_grid(open_bundle(str(tiny_bundle)), classes, settings, axes, tmp_path / folder)[0]

    return planned


def test_axes_that_open_other_graphs_are_outermost(plan):
    cells = plan(classes=(), x="class=cyt_mast,cyt_nep_mast", y="seed=1-2", z="size=32x32,32x48").cells
    assert [cell.places for cell in cells][:4] == [(0, 0, 0), (0, 1, 0), (0, 0, 1), (0, 1, 1)]
    assert [cell.job.request.class_names[0] for cell in cells] == ["cyt_mast"] * 4 + ["cyt_nep_mast"] * 4


def test_an_interrupted_grid_continues_with_the_same_bytes(plan, tmp_path):
    axes = {"x": "seed=1-3", "y": "guidance_scale=1,4"}
    whole = run_grid(plan("whole", **axes))
    assert (whole.made, whole.failed, whole.stopped) == (6, 0, False)
    stop, seen = threading.Event(), []

    def interrupt(task, done, total):
        seen.append((task, done, total))
        if done == 2:
            stop.set()

    first = run_grid(plan(**axes), stop=stop, progress=interrupt)
    assert (first.made, first.total, first.stopped, first.sheet) == (2, 2, True, None)
    assert seen == [("cells", 1, 6), ("cells", 2, 6)]
    assert json.loads((tmp_path / "grid" / GRID).read_text())["complete"] is False
    second = run_grid(plan(**axes))
    assert (second.made, second.total, second.stopped) == (4, 6, False)
    files = {path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*.png")}
    assert len(files) > 6
    for file in files:
        assert (tmp_path / "grid" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    assert json.loads((tmp_path / "grid" / GRID).read_text())["complete"] is True


def test_another_grid_in_the_folder_is_refused(plan, tmp_path):
    run_grid(plan(x="seed=1-2"))
    with pytest.raises(RequestError, match="another grid"):
        plan(x="seed=1-3")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes.txt").write_text("mine")
    with pytest.raises(RequestError, match=r"no grid\.json"):
        plan("full", x="seed=1-2")


def test_a_drawn_seed_is_one_for_the_whole_grid_and_kept(plan):
    first = plan(seed=-1, x="guidance_scale=1,2")
    assert len({cell.job.request.seed for cell in first.cells}) == 1
    run_grid(first)
    again = plan(seed=-1, x="guidance_scale=1,2")
    assert again.seed == first.seed
    assert run_grid(again).made == 0


def test_a_picture_that_cannot_be_made_leaves_its_cell_empty(plan, monkeypatch):
    from engine.pipeline import rescue

    monkeypatch.setattr(rescue, "troubles_of", lambda images, finite: ["blank"] * len(images))
    result = run_grid(plan(x="seed=1-2"))
    assert (result.total, result.failed, result.stopped) == (0, 2, False)
    assert result.sheet is not None
    assert result.sheet.is_file()
