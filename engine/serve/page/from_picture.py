"""The tab From a picture: vary a picture, repaint what a brush marks, or grow it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from engine.initial.settings import InitialSettings
from engine.serve.page.context import Page
from engine.serve.page.generate import Steering
from engine.serve.page.results import Results
from engine.serve.page.uploads import dropped, pictures_field
from engine.serve.page.widgets import Widgets

__all__ = ["add", "mask_of"]

BRUSH = "#ff2d55"
CHANGE = ("strength", "resize_mode")
MASK = ("mask_invert", "mask_blur", "masked_content", "inpaint_area", "mask_padding")


def mask_of(drawing: dict[str, Any] | None, size: tuple[int, int]) -> bytes | None:
    """Return the mask of what a brush marked as a PNG, white where it is marked, or None if nothing is.

    drawing: what the editor holds, whose layers are RGBA. size: width and height of the picture, which the mask gets.
    """
    layers = [layer for layer in (drawing or {}).get("layers") or () if layer is not None]
    marked = [np.asarray(layer.convert("RGBA").resize(size, Image.Resampling.NEAREST))[..., 3] > 0 for layer in layers]
    if not any(layer.any() for layer in marked):
        return None
    file = io.BytesIO()
    Image.fromarray(np.uint8(255) * np.any(marked, axis=0).astype(np.uint8)).save(file, format="PNG")
    return file.getvalue()


def add(page: Page) -> None:
    """Add the tab."""
    with gr.Tab("From a picture", id="from-picture"), gr.Row():
        with gr.Column(scale=1, min_width=320):
            files = pictures_field("Drop pictures to start from", height=140, elem_id="from-picture-file")
            editor = gr.ImageEditor(
                label="Paint what to redraw",
                sources=(),
                transforms=(),
                layers=False,
                type="pil",
                format="png",
                brush=gr.Brush(default_size=12, colors=[BRUSH], default_color=BRUSH, color_mode="fixed"),
                buttons=[],
                canvas_size=(512, 512),
                elem_id="from-picture-editor",
            )
            gr.Markdown("Paint nothing to vary the whole picture.", elem_classes="help")
            change = Widgets(InitialSettings, CHANGE)
            with gr.Accordion("Mask", open=False):
                mask = Widgets(InitialSettings, MASK)
            with gr.Accordion("Grow the picture (outpainting)", open=False):
                grow = Widgets(InitialSettings, ["expand"], start={"expand": (0, 0, 0, 0)})
            steering = Steering(page, size=True)
        with gr.Column(scale=2, min_width=320):
            results = Results(page, "from-picture", seed=steering.seed["seed"])
    groups = [change, mask, grow]
    own = [one for group in groups for one in group.components]
    files.change(page.guarded(lambda paths: _shown(page, paths)), files, editor, **page.private)

    def draw(paths: list[str] | None, drawing: dict[str, Any] | None, *given: Any) -> Iterator[list[Any]]:
        values, more = given, dict[str, Any]()
        for group in groups:
            more |= group.values(values[: len(group.components)])
            values = values[len(group.components) :]
        # The engine reads the others, and refuses what is no picture.
        first = next(dropped(paths, "From a picture"))
        contents = tuple(Path(path).read_bytes() for path in paths or ())
        request = steering.drawing(values, more, initial=contents, mask=mask_of(drawing, first.picture.size))
        yield from results.run(request)

    results.draw.click(page.guarded(draw), [files, editor, *own, *steering.inputs], results.outputs, **page.private)


def _shown(page: Page, paths: list[str] | None) -> Any:
    """Return what the editor shows: the first picture, in a format that every browser can show. Raises RequestError."""
    if not paths:
        return None
    file = page.new_folder() / "picture.png"
    next(dropped(paths, "From a picture")).picture.save(file)
    return {"background": str(file), "layers": [], "composite": None}
