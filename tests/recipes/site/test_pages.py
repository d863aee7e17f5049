"""Pages of the site: generated references, and links that leave the site."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("mkdocs", reason="the extra `docs` is not installed")
from recipes.site.pages import on_page_markdown


def page_of(markdown, path="guides/first-cells.md"):
    return on_page_markdown(markdown, SimpleNamespace(file=SimpleNamespace(src_uri=path)))


def test_a_link_to_a_page_stays_and_a_link_to_a_script_becomes_its_path():
    kept = "[the glossary](../reference/glossary.md#chunk), [elsewhere](https://example.org), [none](absent.md)"
    assert page_of(kept) == kept
    assert page_of("[the recipe](../../recipes/cells.sh)") == "the recipe (`recipes/cells.sh`)"
    assert page_of("[`recipes/cells.sh`](../../recipes/cells.sh)") == "`recipes/cells.sh`"


def test_marks_are_replaced_by_what_the_code_says():
    assert "### engine generate" in page_of("<!-- command line: engine -->")
    assert "| `guidance_scale` |" in page_of("<!-- settings: engine.bundle.settings.GuidanceSettings -->")
