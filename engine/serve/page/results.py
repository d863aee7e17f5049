"""The pictures that a tab has drawn: progress, a gallery, what each picture states, and downloads."""

from __future__ import annotations

import html
import json
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import gradio as gr

from engine.output.formats import WebDataset
from engine.output.journal import METADATA
from engine.serve.page.context import Page
from engine.serve.service import Cancelled, Drawing, Drawn, Ticket
from engine.serve.zips import write_zip

__all__ = ["Results"]

REFRESH_S = 0.3
Saved = list[tuple[str, int, str, str]]
"""File, seed, infotext and description (JSON) of each picture."""


class Results:
    """The right half of a tab that draws: it is the same for all of them."""

    def __init__(self, page: Page, name: str, *, seed: Any | None = None) -> None:
        """Add the components. name: of the tab, in identifiers. seed: the component that `Use this seed` sets."""
        self._page = page
        self.ticket, self.saved, self.picked = gr.State(""), gr.State([]), gr.State(None)
        with gr.Row():
            self.draw = gr.Button("Draw", variant="primary", elem_id=f"{name}-draw", min_width=120)
            self.stop = gr.Button("Stop", variant="stop", elem_id=f"{name}-stop", min_width=80)
        # The text is made here, and escaped.
        self.status = gr.Markdown("", elem_id=f"{name}-status", elem_classes="status", sanitize_html=False)
        self.gallery = gr.Gallery(
            label="Synthetic pictures",
            columns=4,
            object_fit="contain",
            height="auto",
            interactive=False,
            buttons=["download", "fullscreen"],
            elem_id=f"{name}-gallery",
        )
        with gr.Row():
            self.zip = gr.DownloadButton("Download as zip", elem_id=f"{name}-zip", interactive=False, min_width=120)
            self.tar = gr.DownloadButton(
                "Download as WebDataset", elem_id=f"{name}-webdataset", interactive=False, min_width=120
            )
        self.info = gr.Textbox(
            label="PNG info of the picture that you click",
            lines=4,
            interactive=False,
            buttons=["copy"],
            elem_id=f"{name}-info",
        )
        with gr.Accordion("All that the picture states", open=False):
            self.facts = gr.JSON(label="cytosynth", show_label=False)
        with gr.Row():
            self.use_seed = gr.Button("Use this seed", elem_id=f"{name}-use-seed", visible=seed is not None)
        self.gallery.select(_pick, self.saved, [self.info, self.facts, self.picked], **page.private)
        if seed is not None:
            self.use_seed.click(
                lambda picked, now: now if picked is None else picked, [self.picked, seed], seed, **page.private
            )
        self.stop.click(self._stop, self.ticket, None, **page.private)

    @property
    def outputs(self) -> list[Any]:
        """What `run` yields values for."""
        return [self.status, self.gallery, self.saved, self.ticket, self.zip, self.tar, self.info, self.facts]

    def run(self, request: Drawing) -> Iterator[list[Any]]:
        """Draw a request, and yield the values of `outputs` as they change. Raises RequestError and QueueFull."""
        ticket = self._page.service.submit(request, task_id=f"page-{uuid.uuid4().hex}")
        folder, saved = self._page.new_folder(), Saved()
        began = time.monotonic()
        off = gr.update(value=None, interactive=False)
        yield ["Waiting", [], [], ticket.id, off, off, "", None]
        shown: tuple[int, str] = (-1, "")
        while not ticket.future.done():
            pictures, words = list(ticket.pictures), _words(ticket)
            if (len(pictures), words) != shown:
                changed = len(pictures) > len(saved)
                saved += [_save(folder, one, len(saved) + i) for i, one in enumerate(pictures[len(saved) :])]
                shown = (len(pictures), words)
                gallery = _shown(saved) if changed else gr.skip()
                yield [words, gallery, list(saved), ticket.id, off, off, gr.skip(), gr.skip()]
            wait([ticket.future], timeout=REFRESH_S)
        try:
            pictures = ticket.result()
        except Cancelled:
            pictures = list(ticket.pictures)
        saved += [_save(folder, one, len(saved) + i) for i, one in enumerate(pictures[len(saved) :])]
        words = _finished(ticket, len(saved), time.monotonic() - began)
        files = _archives(folder, pictures) if pictures else (None, None)
        downloads = [gr.update(value=file and str(file), interactive=file is not None) for file in files]
        yield [words, _shown(saved), list(saved), "", *downloads, gr.skip(), gr.skip()]

    def _stop(self, ticket_id: str) -> None:
        """Cancel the visitor's own request. What is finished stays."""
        for ticket in self._page.service.tickets():
            if ticket_id and ticket.id == ticket_id:
                ticket.cancel()


def _save(folder: Path, picture: Drawn, place: int) -> tuple[str, int, str, str]:
    path = folder / f"{place:04d}-{picture.description['class']}-{picture.seed}.png"
    path.write_bytes(picture.png)
    return str(path), picture.seed, picture.infotext, json.dumps(picture.description, ensure_ascii=False)


def _shown(saved: Saved) -> list[tuple[str, str]]:
    return [(path, f"synthetic, seed {seed}") for path, seed, *_ in saved]


def _pick(saved: Saved, event: gr.SelectData) -> tuple[str, Any, int | None]:
    """Return infotext, description and seed of the picture that was clicked."""
    place = event.index if isinstance(event.index, int) else -1
    if not 0 <= place < len(saved):
        return "", None, None
    _, seed, infotext, facts = saved[place]
    return infotext, json.loads(facts), seed


def _words(ticket: Ticket) -> str:
    """Return how far a request is, as HTML."""
    if ticket.state == "waiting":
        return f"Waiting, {ticket.position} requests come before"
    progress = ticket.progress()
    left = progress.remaining_s
    words = f"{progress.pictures} of {ticket.request.n} pictures, step {progress.step} of {progress.steps}"
    if left:
        words += f", about {left:.0f} s left"
    return f'<progress max="1" value="{progress.fraction:.3f}" style="width: 100%"></progress><div>{words}</div>'


def _finished(ticket: Ticket, count: int, seconds: float) -> str:
    words = [f"{count} synthetic pictures in {seconds:.1f} s"]
    if ticket.cancelled:
        words.append("stopped before the end")
    if ticket.failures:
        words.append(f"{len(ticket.failures)} seeds gave no picture")
    return "<br>".join(map(html.escape, [". ".join(words), *ticket.job.warnings]))


def _archives(folder: Path, pictures: Sequence[Drawn]) -> tuple[Path, Path]:
    """Write the pictures as a zip of a folder per class, and as one shard of a WebDataset. Return both files."""
    packed = folder / "pictures.zip"
    files = [(f"{one.description['class']}/{i:06d}.png", one) for i, one in enumerate(pictures)]
    rows = (json.dumps({"file_name": name, **one.description}, ensure_ascii=False) + "\n" for name, one in files)
    write_zip(packed, [*((name, one.png) for name, one in files), (METADATA, "".join(rows).encode())])
    shards = folder / "webdataset"
    shards.mkdir()
    with WebDataset(shards, "train", per_shard=len(pictures), done=0, written={}) as writer:
        for i, one in enumerate(pictures):
            writer.write(i, i, 0, one.png, one.description)
        writer.finish()
    shard = folder / "pictures.tar"
    shutil.move(shards / "train-000000.tar", shard)
    return packed, shard
