"""The tab PNG info: what a picture states about how it was made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gradio as gr

from engine.errors import RequestError
from engine.output.infotext import parse_infotext
from engine.output.picture_texts import read_texts
from engine.pictures import PNG_KEY
from engine.serve.page.context import Page

__all__ = ["add", "describe_file"]


def describe_file(path: Path) -> tuple[str, str, dict[str, Any]]:
    """Return a sentence about a picture file, its text in the words of the WebUI, and all that it states.

    Raises RequestError for a file that is no picture.
    """
    try:
        texts = read_texts(path)
        ours = json.loads(texts.chunks[PNG_KEY]) if PNG_KEY in texts.chunks else None
    except Exception as error:  # a decoder may raise any exception for arbitrary bytes
        raise RequestError(
            f"The picture {path.name}", found=f"unreadable ({error})", expected="a picture", fix="drop another file"
        ) from error
    if isinstance(ours, dict):
        return "This picture is **synthetic**: cytosynth drew it.", texts.comment, ours
    if texts.comment:
        read = parse_infotext(texts.comment)
        facts = {"prompt": read.prompt, "negative prompt": read.negative_prompt, **read.fields}
        return "This picture has the text of a web UI. It is probably synthetic.", texts.comment, facts
    return "This picture states nothing. It may be a photograph, or its text was removed.", "", {}


def add(page: Page) -> None:
    """Add the tab."""
    with gr.Tab("PNG info", id="png-info"), gr.Row():
        with gr.Column(scale=1, min_width=320):
            # A component for pictures would encode the file again, and lose its text.
            file = gr.File(label="Drop a picture", file_types=["image"], elem_id="png-info-file")
            picture = gr.Image(
                label="Picture", interactive=False, buttons=["fullscreen"], type="filepath", visible=False
            )
        with gr.Column(scale=2, min_width=320):
            said = gr.Markdown("Drop a picture. The page shows how it was made.", elem_id="png-info-said")
            text = gr.Textbox(label="Parameters", lines=5, interactive=False, buttons=["copy"], elem_id="png-info-text")
            facts = gr.JSON(label="All that the picture states")

    def show(path: str | None) -> tuple[Any, ...]:
        if path is None:
            return "", "", None, gr.update(value=None, visible=False)
        words, parameters, found = describe_file(Path(path))
        return words, parameters, found, gr.update(value=path, visible=True)

    file.change(page.guarded(show), file, [said, text, facts, picture], **page.private)
