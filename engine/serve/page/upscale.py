"""The tab Upscale: larger pictures, by Lanczos or drawn again by the model of a class."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from engine.backends.select import open_backend
from engine.bundle.settings import RequestSettings
from engine.errors import RequestError
from engine.pictures import PNG_KEY
from engine.progress import Progress
from engine.runs.tile_job import UpscaleSettings, tile_job
from engine.runs.upscale import UpscaleRequest, check_folder, upscale
from engine.serve.page.background import followed
from engine.serve.page.context import Page
from engine.serve.page.uploads import dropped, pictures_field
from engine.serve.page.widgets import Widgets
from engine.serve.zips import write_zip

__all__ = ["add"]

LANCZOS = "no class: Lanczos alone"


def add(page: Page) -> None:
    """Add the tab."""
    with gr.Tab("Upscale", id="upscale"), gr.Row():
        with gr.Column(scale=1, min_width=320):
            files = pictures_field("Drop pictures", height=140, elem_id="upscale-file")
            scale = Widgets(UpscaleSettings, ["scale"], start={"scale": 2})
            menu = page.menu("Class whose model draws the enlarged picture again", none=LANCZOS)
            with gr.Accordion("Settings of the model", open=False):
                model = Widgets(UpscaleSettings, ["strength", "tile", "overlap"])
        with gr.Column(scale=2, min_width=320):
            with gr.Row():
                start = gr.Button("Enlarge", variant="primary", elem_id="upscale-start", min_width=120)
                stop = gr.Button("Stop", variant="stop", min_width=80)
            status = gr.Markdown("", elem_id="upscale-status", elem_classes="status")
            gallery = gr.Gallery(
                label="Enlarged pictures",
                columns=3,
                fit_columns=False,
                object_fit="contain",
                height="auto",
                interactive=False,
                buttons=["download", "fullscreen"],
                elem_id="upscale-gallery",
            )
            packed = gr.DownloadButton("Download as zip", interactive=False, elem_id="upscale-zip")
            gr.Markdown("The model adds plausible detail that the real cell may not have. Do not measure such cells.")

    def enlarge(paths: list[str] | None, chosen: str, *given: Any) -> Iterator[list[Any]]:
        values = scale.values(given) | model.values(given[len(scale.components) :])
        folder = page.new_folder()
        settings = UpscaleSettings(out=folder / "enlarged", **values)
        synthetic = _copied(paths, folder / "pictures", settings.scale, page.service.settings.limits.max_pixels)
        pictures = tuple(synthetic)
        off = gr.update(value=None, interactive=False)
        for words in _enlarged(page, settings, pictures, chosen):
            yield [words, gr.skip(), off]
        made = sorted(settings.out.glob("*.png"))
        yield [
            f"{len(made)} of {len(pictures)} pictures enlarged",
            [(str(path), _caption(synthetic, path)) for path in made],
            _zipped(folder, made),
        ]

    inputs = [files, menu, *scale.components, *model.components]
    running = start.click(page.guarded(enlarge), inputs, [status, gallery, packed], **page.private)
    stop.click(lambda: "Stopped", None, status, cancels=[running], **page.private)


def _copied(paths: list[str] | None, folder: Path, scale: float, most: int) -> dict[Path, bool]:
    """Copy dropped pictures under names that differ. Return for each copy whether it is marked as synthetic.

    most: largest number of pixels of an enlarged picture. Raises RequestError.
    """
    copies = {}
    for i, one in enumerate(dropped(paths, "Upscale")):
        width, height = (round(side * scale) for side in one.picture.size)
        if width * height > most:
            found = f"{width} x {height} pixels after enlarging"
            raise RequestError(one.path.name, found=found, expected=f"at most {most:,} pixels", fix="lower the scale")
        folder.mkdir(exist_ok=True)
        copies[one.copy_to(folder, f"{i:03d}-{one.stem}")] = PNG_KEY in one.picture.info
    return copies


def _enlarged(page: Page, settings: UpscaleSettings, pictures: tuple[Path, ...], chosen: str) -> Iterator[str]:
    """Enlarge the pictures into the folder of the settings, and yield how far it is."""
    service, job = page.service, None
    request = UpscaleRequest(pictures, settings.out, settings.scale)
    if chosen:
        served = page.chosen(chosen)
        asked = RequestSettings(hardware=service.settings.hardware)
        tiles = tile_job(service.bundles[served.bundle], replace(settings, class_name=served.name), asked)
        job, request = tiles.job, replace(request, overlap=tiles.overlap)
        job.bundle.verify_for(job.request.class_names, job.request.preset)
    identity = check_folder(request, job, overwrite=True)

    def work(report: Progress, stop: threading.Event) -> int:
        with service.turns.turn():
            backend = None if job is None else open_backend(job)
            return upscale(request, identity, job, backend, stop=stop, progress=report)

    yield from followed(work, threading.Event())


def _caption(synthetic: Mapping[Path, bool], made: Path) -> str:
    """Return the caption of an enlarged picture, which has the name of its source."""
    marked = any(found for source, found in synthetic.items() if source.stem == made.stem)
    return "synthetic, enlarged" if marked else "enlarged, not synthetic"


def _zipped(folder: Path, pictures: list[Path]) -> Any:
    if not pictures:
        return gr.update(value=None, interactive=False)
    file = folder / "enlarged.zip"
    write_zip(file, ((path.name, path.read_bytes()) for path in pictures))
    return gr.update(value=str(file), interactive=True)
