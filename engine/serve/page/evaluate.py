"""The tab Evaluate: how close synthetic pictures of a class are to real ones."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import gradio as gr

from engine.errors import CytosynthError
from engine.serve.page.children import Child
from engine.serve.page.context import Page, installed
from engine.serve.page.uploads import dropped, pictures_field
from engine.serve.service import Drawing

__all__ = ["add", "figures_of"]

REFRESH_S = 0.5
WIDTH = 88
"""Characters of the longest line of the figures. The table has fewer."""
OF_TERMINAL = re.compile(r"--explain |Record: |.*, \d+/\d+$")
"""Lines about an option, about a file of the server, and about progress."""


def add(page: Page) -> None:
    """Add the tab, if the evaluation is installed."""
    if not installed("evaluate"):
        return
    limits = page.service.settings.limits
    with gr.Tab("Evaluate", id="evaluate"), gr.Row():
        with gr.Column(scale=1, min_width=320):
            real = pictures_field("Drop real pictures", height=160, elem_id="evaluate-real")
            menu = page.menu("Class whose pictures are drawn and scored")
            count = gr.Slider(
                2, limits.max_pictures, value=limits.max_pictures, step=1, label="Number of pictures to draw"
            )
            fake = pictures_field("Or drop synthetic pictures", height=160, elem_id="evaluate-fake")
            with gr.Row():
                start = gr.Button("Score", variant="primary", elem_id="evaluate-start", min_width=120)
                stop = gr.Button("Stop", variant="stop", min_width=80)
            gr.Markdown(
                "Use real pictures of one class that are framed as the training pictures were, but were **not** among "
                "them. The more pictures, the more the figures say."
            )
        with gr.Column(scale=2, min_width=320):
            status = gr.Markdown("", elem_id="evaluate-status", elem_classes="status")
            figures = gr.Code(
                "",
                language=None,
                label="Figures",
                interactive=False,
                show_line_numbers=False,
                elem_id="evaluate-figures",
            )
            report = gr.DownloadButton("Download the report", interactive=False, elem_id="evaluate-report")

    def score(reals: list[str] | None, model: str, number: float, fakes: list[str] | None) -> Iterator[list[Any]]:
        folder, off = page.new_folder(), gr.update(value=None, interactive=False)
        _fill(folder / "real", reals, "The real pictures")
        if fakes:
            _fill(folder / "synthetic", fakes, "The synthetic pictures")
        else:
            for words in _drawn(page, folder / "synthetic", model, int(number)):
                yield [words, "", off]
        record, made = folder / "record", folder / "report.html"
        steps = {
            "Scoring": ["evaluate", "score", "real", "synthetic", "--out", record.name],
            "Writing the report": ["evaluate", "report", record.name, "--out", made.name],
        }
        printed = ""
        for words, command in steps.items():
            child = Child(command, folder / "log.txt")
            try:
                while child.running:
                    yield [words, printed, off]
                    child.wait(REFRESH_S)
            finally:
                child.stop()
            if not child.succeeded:
                raise _failure(child)
            printed = printed or figures_of(page.without_folders(child.output()))
        yield ["Scored. The report explains each figure.", printed, gr.update(value=str(made), interactive=True)]

    inputs, outputs = [real, menu, count, fake], [status, figures, report]
    running = start.click(page.guarded(score), inputs, outputs, **page.private)
    stop.click(lambda: "Stopped", None, status, cancels=[running], **page.private)


def figures_of(printed: str) -> str:
    """Return what `evaluate score` printed without what concerns the terminal alone. Long sentences are wrapped."""
    lines = [line for line in printed.splitlines() if not OF_TERMINAL.match(line)]
    # A line of the table begins with a space.
    wrapped = (textwrap.wrap(line, WIDTH) if line and not line.startswith(" ") else [line] for line in lines)
    return "\n".join(one for lines in wrapped for one in lines).strip("\n")


def _fill(folder: Path, paths: list[str] | None, subject: str) -> None:
    """Copy uploaded pictures. Raises RequestError."""
    folder.mkdir()
    for i, one in enumerate(dropped(paths, subject)):
        one.copy_to(folder, f"{i:05d}")


def _drawn(page: Page, folder: Path, model: str, count: int) -> Iterator[str]:
    """Draw pictures of a class into a folder, and yield how far it is."""
    served = page.chosen(model)
    ticket = page.service.submit(Drawing(served.bundle, served.name, count))
    try:
        while not ticket.future.done():
            yield f"Drawing, {ticket.progress().pictures} of {count} pictures"
            wait([ticket.future], timeout=REFRESH_S)
    finally:
        ticket.cancel()
    folder.mkdir()
    for picture in ticket.result():
        (folder / f"{picture.seed:05d}.png").write_bytes(picture.png)


def _failure(child: Child) -> CytosynthError:
    """Return the error that a command printed."""
    lines = child.last_lines().split("error: ")[-1].splitlines()
    parts = dict(line.strip().split(":", 1) for line in lines[1:] if ":" in line)
    words = {key: parts.get(key, "").strip() for key in ("found", "expected", "fix")}
    return CytosynthError((lines or ["evaluate"])[0], **words)
