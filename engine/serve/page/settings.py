"""The tab Settings: what is served, and the limits of this server."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import gradio as gr

from engine.options import help_of
from engine.serve.page.context import Page
from engine.serve.page.widgets import label_of
from engine.serve.settings import LimitSettings
from engine.version import __version__

__all__ = ["add"]

CLASSES = ["Class", "Bundle", "Trained on", "Licence", "Attribution"]


def add(page: Page) -> None:
    """Add the tab. It holds nothing of the file system."""
    limits = page.service.settings.limits
    rows = [[label_of(one), getattr(limits, one.name), help_of(one)] for one in fields(LimitSettings)]
    with gr.Tab("Settings", id="settings") as tab:
        gr.Markdown(
            f"cytosynth {__version__}. The server was started with these settings; `engine serve --help` says "
            "how to change them."
        )
        classes = gr.Dataframe(_classes(page), headers=CLASSES, label="Classes", interactive=False, wrap=True)
        gr.Dataframe(rows, headers=["Limit", "Value", "Meaning"], label="Limits", interactive=False, wrap=True)
    tab.select(lambda: _classes(page), None, classes, **page.private)


def _classes(page: Page) -> list[list[Any]]:
    return [
        [one.name, one.bundle, f"{one.pictures} {one.origin}", one.licence, one.attribution]
        for one in page.service.classes()
    ]
