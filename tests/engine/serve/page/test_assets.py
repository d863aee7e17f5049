"""The files of Gradio's page."""

from __future__ import annotations

import gzip

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from engine.serve.page.assets import Assets, Frontend, first_kinds


@pytest.fixture(scope="module")
def frontend():
    return Frontend()


def test_the_files_that_a_page_needs_are_found_in_the_scripts_of_gradio(frontend):
    least, more = frontend.needed([]), frontend.needed(["gallery", "dropdown", "no such component"])
    assert least
    assert any(name.startswith("Blocks-") for name in least)
    assert set(least) < set(more) <= frontend.names
    assert any(name.startswith("Gallery-") for name in more)
    assert {name.rpartition(".")[2] for name in more} == {"js", "css"}


def test_a_gradio_of_another_form_gives_nothing(tmp_path):
    assert Frontend(tmp_path).needed(["gallery"]) == []
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text('<script src="./assets/index-01234567.js">')
    (tmp_path / "assets/index-01234567.js").write_text('import("./x.js"),__vite__mapDeps([9])')
    assert Frontend(tmp_path).needed(["gallery"]) == ["index-01234567.js"]


def test_only_the_first_of_several_tabs_counts():
    kinds = {1: "markdown", 2: "tabs", 3: "tabitem", 4: "button", 5: "tabitem", 6: "imageeditor"}
    tabs = [{"id": 3, "children": [{"id": 4}]}, {"id": 5, "children": [{"id": 6}]}]
    layout = {"id": 0, "children": [{"id": 1}, {"id": 2, "children": tabs}]}
    config = {"components": [{"id": key, "type": kind} for key, kind in kinds.items()], "layout": layout}
    assert first_kinds(config) == ["button", "markdown", "tabitem", "tabs"]


def test_a_file_is_kept_by_browsers_and_everything_else_passes(frontend):
    client = TestClient(Assets(Starlette(), frontend))
    name = frontend.needed([])[0]
    content = frontend.content(name)
    for accepted in ("gzip, br", "identity"):
        answer = client.get(f"/assets/{name}", headers={"accept-encoding": accepted})
        assert answer.content == content
        assert answer.headers["cache-control"].endswith("immutable")
        assert ("content-encoding" in answer.headers) is ("gzip" in accepted)
    assert gzip.decompress(frontend.packed(name)) == content
    assert client.head(f"/assets/{name}").content == b""
    for path in ("/assets/../index.html", "/assets/none-01234567.js", f"/{name}", "/"):
        assert client.get(path).status_code == 404
    assert client.post(f"/assets/{name}").status_code == 404
