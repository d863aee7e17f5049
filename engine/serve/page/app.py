"""The page itself: its tabs, its look, and how Gradio is mounted so that nothing leaves this machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI
from starlette.middleware import Middleware

from engine.serve.page import evaluate, from_picture, generate, merge, png_info, settings, train, upscale
from engine.serve.page.assets import first_kinds, frontend
from engine.serve.page.context import Page
from engine.serve.page.guard import Guard
from engine.serve.page.merges import Merges
from engine.serve.page.trainings import Trainings
from engine.serve.sdapi.options import Options
from engine.serve.service import Service

__all__ = ["mount_page"]

FOLDER = "page"
"""Folder, inside the data folder, of uploaded and drawn pictures. It is emptied at each start."""
KEPT_S = 24 * 3600
"""Pictures of the page are removed after this time."""
DISCLAIMER = (
    "Every picture that this page draws is **synthetic**. "
    "It is a research tool: **no picture may be used for diagnosis.**"
)
FONTS = ["system-ui", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif"]
MONO = ["ui-monospace", "Consolas", "Menlo", "monospace"]
CSS = """
#disclaimer { border-left: 4px solid #b45309; padding: 0.25rem 0.75rem; }
.status { min-height: 1.5rem; }
.help { font-size: var(--text-sm); color: var(--body-text-color-subdued); }
.loss svg { width: 100%; max-width: 30rem; height: auto; }
/* The previews of a training are strips of several cells, not squares. */
#train-previews .grid-wrap { min-height: 0; }
#train-previews .thumbnail-item { aspect-ratio: auto; height: auto; }
#train-previews .thumbnail-item img { height: auto; }
pre, code { white-space: pre-wrap; overflow-wrap: anywhere; }
/* Tabs that have no room are scrolled. Gradio's own menu for them loses tabs. */
@media (max-width: 800px) {
  .tab-wrapper { overflow-x: auto; }
  .tab-wrapper > .tab-container { min-width: 54rem; }
  #train-previews .grid-container { grid-template-columns: 1fr; }
}
"""


def mount_page(app: FastAPI, service: Service, options: Options, training_options: Sequence[str] = ()) -> None:
    """Mount the page at `/`. Call this after every other route is added, because the page takes all other paths.

    training_options: options of `trainer adapt` for the classes that are trained on the page.
    """
    folder = service.settings.data.resolve() / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    # Gradio puts uploads and pictures here, and serves no file from anywhere else.
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    os.environ["GRADIO_EXAMPLES_CACHE"] = str(folder / "examples")
    limits = service.settings.limits
    trainings = Trainings(service, service.settings.data.resolve() / "trainings", training_options)
    merges = Merges(service.settings.data.resolve() / "checkpoints")
    _close_at_end(app, trainings, merges)
    page = make_page(service, folder, trainings, merges, options)
    early = frontend().needed(first_kinds(page.config))
    guard = Middleware(Guard, max_body=limits.max_body * 2**20, early=early)
    page.queue(default_concurrency_limit=None, max_size=limits.queue, api_open=False)
    gr.mount_gradio_app(
        app,
        page,
        "/",
        app_kwargs={"middleware": [guard], "docs_url": None},
        footer_links=[],
        run_history=False,
        allowed_paths=[],
        blocked_paths=[],
        show_error=False,
        max_file_size=limits.max_body * 2**20,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        theme=gr.themes.Default(font=FONTS, font_mono=MONO, primary_hue="indigo").set(
            block_info_text_color="*neutral_600", body_text_color_subdued="*neutral_600"
        ),
        css=CSS,
    )


def make_page(service: Service, folder: Path, trainings: Trainings, merges: Merges, options: Options) -> gr.Blocks:
    """Return the page. folder: where pictures of the page lie."""
    blocks = gr.Blocks(title="cytosynth", analytics_enabled=False, delete_cache=(KEPT_S // 24, KEPT_S), fill_width=True)
    with blocks:
        page = Page(service, folder, trainings, merges, options)
        gr.Markdown("# cytosynth")
        gr.Markdown(DISCLAIMER, elem_id="disclaimer")
        with gr.Tabs():
            generate.add(page)
            from_picture.add(page)
            upscale.add(page)
            png_info.add(page)
            train.add(page)
            merge.add(page)
            evaluate.add(page)
            settings.add(page)
        # Classes may have been trained since the page was built, and another one may have become the default.
        blocks.load(page.first_menus, None, page.menus, **page.private)
    return blocks


def _close_at_end(app: FastAPI, *running: Trainings | Merges) -> None:
    """Stop the child processes when the application ends, as Gradio adds its own end."""
    before = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
        async with before(app) as state:
            try:
                yield state
            finally:
                for one in running:
                    one.close()

    app.router.lifespan_context = lifespan
