"""The tab Merge: a checkpoint from two or three others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from engine.serve.page.context import Page, installed
from engine.serve.page.merges import INPUTS, MergeRequest

__all__ = ["add"]

REFRESH_S = 1.0
NONE_YET = "No merge yet."
METHODS = [
    ("Weighted sum: A (1 - M) + B M", "weighted-sum"),
    ("Add difference: A + M (B - C)", "add-difference"),
    ("No interpolation: A", "no-interpolation"),
]
LETTERS = ("A", "B", "C")


def add(page: Page) -> None:
    """Add the tab, if the trainer is installed."""
    if not installed("trainer"):
        return
    names = page.merges.names()
    with gr.Tab("Merge", id="merge") as tab, gr.Row():
        with gr.Column(scale=1, min_width=320):
            method = gr.Radio(METHODS, value=METHODS[0][1], label="Method", elem_id="merge-method")
            menus = [
                gr.Dropdown(names, value=None, label=f"Checkpoint {letter}", elem_id=f"merge-{letter.lower()}")
                for letter in LETTERS
            ]
            menus[-1].visible = False
            multiplier = gr.Slider(0, 1, value=0.3, step=0.05, label="Multiplier M", elem_id="merge-multiplier")
            half = gr.Checkbox(value=False, label="Save merged tensors as float16")
            name = gr.Textbox(label="Name of the result", elem_id="merge-name")
            with gr.Row():
                start = gr.Button("Merge", variant="primary", elem_id="merge-start", min_width=120)
                stop = gr.Button("Stop", variant="stop", min_width=80)
            file = gr.File(
                label=f"Add a checkpoint (up to {page.service.settings.limits.max_body} MB)",
                file_types=[".safetensors"],
                height=120,
                elem_id="merge-file",
            )
            gr.Markdown(
                "The checkpoints lie in the folder `checkpoints` of the server's data. Put larger files there, and "
                "open this tab again. The merge continues if you close the page."
            )
        with gr.Column(scale=2, min_width=320):
            status = gr.Markdown(NONE_YET, elem_id="merge-status")
            log = gr.Textbox(label="What the merger prints", lines=8, interactive=False, elem_id="merge-log")
            timer = gr.Timer(REFRESH_S, active=False)
    shown = [status, log, timer, *menus]

    def begin(way: str, a: str | None, b: str | None, c: str | None, *values: Any) -> list[Any]:
        chosen = tuple(one or "" for one in (a, b, c)[: INPUTS.get(way, 0)])
        number, as_half, words = values
        page.merges.start(MergeRequest(chosen, way, float(number), bool(as_half), words.strip()))
        return look()

    def look() -> list[Any]:
        return [*_state(page), *[gr.update(choices=page.merges.names()) for _ in menus]]

    def end() -> list[Any]:
        page.merges.close()
        return look()

    def take(path: str | None) -> list[Any]:
        added = None if path is None else page.merges.take(Path(path))
        words, *rest = look()
        return [None, words if added is None else f"**{added}** is added.", *rest]

    start.click(page.guarded(begin), [method, *menus, multiplier, half, name], shown, **page.private)
    stop.click(page.guarded(end), None, shown, **page.private)
    file.upload(page.guarded(take), file, [file, *shown], **page.private)
    method.change(_visible, method, [*menus[1:], multiplier], **page.private)
    tab.select(look, None, shown, **page.private)
    timer.tick(look, None, shown, **page.private)


def _visible(method: str) -> list[Any]:
    """Return which of B, C and the multiplier the tab shows for a method."""
    count = INPUTS.get(method, 1)
    return [gr.update(visible=count >= least) for least in (2, 3, 2)]


def _state(page: Page) -> list[Any]:
    """Return what the tab shows of the last merge: a sentence, the log, and whether the tab is refreshed."""
    last = page.merges.last
    if last is None:
        return [NONE_YET, "", gr.Timer(active=False)]
    printed = page.without_folders(last.child.last_lines())
    if last.child.running:
        words = f"Merging **{last.file}**: {printed.splitlines()[-1] if printed else 'starting'}"
    elif last.child.succeeded:
        words = f"**{last.file}** is merged. It lies in the folder `checkpoints` of the server's data."
    else:
        words = f"The merge **{last.file}** ended before its end. What the merger printed says why."
    return [words, printed, gr.Timer(active=last.child.running)]
