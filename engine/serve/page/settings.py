"""The tab Settings: what is served, the options of the server, and its limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import gradio as gr

from engine.options import help_of
from engine.serve.page.context import Page
from engine.serve.page.widgets import SLIDER, label_of
from engine.serve.sdapi.options import CHECKPOINT, OF_SERVER, SETTABLE
from engine.serve.settings import LimitSettings
from engine.version import __version__

__all__ = ["add"]

CLASSES = ["Class", "Bundle", "Trained on", "Licence", "Attribution"]
CURRENT = "The options as they are now."
WORDS = {
    "cytosynth_sampler": ("Sampler", "Of requests that state none."),
    "cytosynth_steps": ("Number of steps", "Of requests that state none. 0 takes the number of the bundle."),
    "CLIP_stop_at_last_layers": ("Clip skip", "Layer of the text encoder whose output is used; 1 is the last."),
    "emphasis": ("Emphasis", "Whether the weights of a prompt are scaled back to the mean that they had."),
    "randn_source": ("Random numbers", "NV and GPU reproduce the noise of CUDA's randn."),
    "live_previews_enable": ("Previews", "Decode what is being drawn, for clients that ask for the progress."),
    "show_progress_every_n_steps": ("Steps between two previews", ""),
}
"""Label and help of each option."""


def add(page: Page) -> None:
    """Add the tab. It holds nothing of the file system."""
    limits = page.service.settings.limits
    rows = [[label_of(one), getattr(limits, one.name), help_of(one)] for one in fields(LimitSettings)]
    with gr.Tab("Settings", id="settings") as tab:
        gr.Markdown(f"cytosynth {__version__}.")
        gr.Markdown("### Options\nThey hold for this page and for the API, and survive a restart.")
        menu = page.menu("Class that menus begin with, and of requests that state none")
        with gr.Row():
            widgets = {name: _widget(name, values) for name, values in SETTABLE.items() if name not in OF_SERVER}
        # A checkbox in a row would be squeezed on a narrow screen.
        with gr.Group():
            widgets |= {name: _widget(name, SETTABLE[name]) for name in OF_SERVER}
        save = gr.Button("Save", variant="primary", elem_id="settings-save", min_width=120)
        status = gr.Markdown("", elem_id="settings-status", elem_classes="status")
        gr.Markdown("### Classes")
        classes = gr.Dataframe(_classes(page), headers=CLASSES, show_label=False, interactive=False, wrap=True)
        gr.Markdown("### Limits\nThe server was started with these; `engine serve --help` says how to change them.")
        gr.Dataframe(rows, headers=["Limit", "Value", "Meaning"], show_label=False, interactive=False, wrap=True)

    def look() -> list[Any]:
        values = page.options.all()
        return [_classes(page), page.default_class, *(values[name] for name in widgets), CURRENT]

    def change(model: str, *given: Any) -> str:
        page.options.change({CHECKPOINT: page.chosen(model).title, **dict(zip(widgets, given, strict=True))})
        return "Saved."

    inputs = [menu, *widgets.values()]
    tab.select(look, None, [classes, *inputs, status], **page.private)
    save.click(page.guarded(change), inputs, status, **page.private)


def _widget(name: str, values: Sequence[Any]) -> Any:
    """Return the component of an option with these values."""
    label, words = WORDS[name]
    shown: dict[str, Any] = {"label": label, "info": words or None, "min_width": 240, "elem_id": f"settings-{name}"}
    if isinstance(values, range) and len(values) > SLIDER:
        return gr.Number(values[0], minimum=values[0], maximum=values[-1], precision=0, **shown)
    if isinstance(values, range):
        return gr.Slider(values[0], values[-1], value=values[0], step=1, **shown)
    if isinstance(values[0], bool):
        return gr.Checkbox(values[0], **shown)
    return gr.Dropdown([*values], value=values[0], **shown)


def _classes(page: Page) -> list[list[Any]]:
    return [
        [one.name, one.bundle, f"{one.pictures} {one.origin}", one.licence, one.attribution]
        for one in page.service.classes()
    ]
