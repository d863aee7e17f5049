"""The tab Train: a new class from a few pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from engine.serve.page.context import Page, installed
from engine.serve.page.trainings import LEAST, ClassRequest, Training
from engine.serve.page.uploads import pictures_field

__all__ = ["add", "curve"]

REFRESH_S = 2.0
ORIGINS = ("photographs", "phantom")
NONE_YET = "No training yet."
WIDTH, HEIGHT, EDGE = 480, 160, 40


def curve(losses: list[tuple[int, float]]) -> str:
    """Return the losses over the steps as a drawing in SVG, or nothing for fewer than two."""
    if len(losses) < 2:
        return ""
    last, least, most = losses[-1][0], min(loss for _, loss in losses), max(loss for _, loss in losses)
    spread = most - least or 1.0

    def place(step: int, loss: float) -> str:
        across = EDGE + (WIDTH - EDGE) * (step - losses[0][0]) / max(1, last - losses[0][0])
        return f"{across:.1f},{10 + (HEIGHT - 30) * (most - loss) / spread:.1f}"

    points = " ".join(place(*one) for one in losses)
    return (
        f'<svg viewBox="0 0 {WIDTH + 10} {HEIGHT}" role="img" aria-label="Loss over steps">'
        f'<polyline points="{points}" fill="none" stroke="#4f46e5" stroke-width="2"/>'
        f'<g fill="currentColor" font-size="14"><text x="0" y="14">{most:.3f}</text>'
        f'<text x="0" y="{HEIGHT - 18}">{least:.3f}</text>'
        f'<text x="{EDGE}" y="{HEIGHT - 4}">step {losses[0][0]}</text>'
        f'<text x="{WIDTH}" y="{HEIGHT - 4}" text-anchor="end">step {last}, loss {losses[-1][1]:.4f}</text></g></svg>'
    )


def add(page: Page) -> None:
    """Add the tab, if the trainer is installed."""
    if not installed("trainer"):
        return
    with gr.Tab("Train", id="train") as tab, gr.Row():
        with gr.Column(scale=1, min_width=320):
            files = pictures_field(f"Drop {LEAST} to 31 pictures of one class", height=200, elem_id="train-file")
            name = gr.Textbox(label="Name of the class", elem_id="train-name")
            licence = gr.Textbox(
                label="Licence of the pictures",
                placeholder="CC BY 4.0, or internal use only",
                elem_id="train-licence",
            )
            attribution = gr.Textbox(label="Whom to credit", elem_id="train-attribution")
            origin = gr.Radio(ORIGINS, value=ORIGINS[0], label="The pictures are")
            with gr.Row():
                start = gr.Button("Train", variant="primary", elem_id="train-start", min_width=120)
                stop = gr.Button("Stop", variant="stop", min_width=80, elem_id="train-stop")
                go_on = gr.Button("Continue", min_width=80, visible=False, elem_id="train-continue")
            gr.Markdown(
                "One cell should be in the centre of each picture. The pictures stay in the data folder of the "
                "server. The training takes minutes, and continues if you close the page."
            )
        with gr.Column(scale=2, min_width=320):
            status = gr.Markdown(NONE_YET, elem_id="train-status")
            loss = gr.Markdown("", elem_classes="loss", sanitize_html=False, elem_id="train-loss")
            previews = gr.Gallery(
                label="Synthetic previews",
                columns=2,
                fit_columns=False,
                height="auto",
                object_fit="contain",
                interactive=False,
                elem_id="train-previews",
                buttons=["fullscreen"],
            )
            sheet = _sheet()
            with gr.Accordion("What the trainer prints", open=False):
                log = gr.Textbox(show_label=False, lines=12, interactive=False, elem_id="train-log")
            timer = gr.Timer(REFRESH_S, active=False)
    shown = [status, loss, previews, sheet, log, timer, go_on]

    def begin(paths: list[str] | None, *words: str) -> list[Any]:
        stated = [word.strip() for word in words]
        page.trainings.start(ClassRequest(tuple(map(Path, paths or ())), *stated))
        return _state(page, page.trainings.last)

    def look() -> list[Any]:
        return _state(page, page.trainings.last)

    def end() -> list[Any]:
        page.trainings.stop()
        return look()

    def resume() -> list[Any]:
        page.trainings.resume()
        return look()

    start.click(page.guarded(begin), [files, name, licence, attribution, origin], shown, **page.private)
    stop.click(page.guarded(end), None, shown, **page.private)
    go_on.click(page.guarded(resume), None, shown, **page.private)
    tab.select(look, None, shown, **page.private)
    timer.tick(look, None, shown, **page.private).then(page.class_menus, None, page.menus, **page.private)


def _sheet() -> gr.Image:
    return gr.Image(
        label="Real cells above synthetic cells",
        # The sheet says so itself, and a label would cover it.
        show_label=False,
        interactive=False,
        visible=False,
        type="filepath",
        buttons=["download", "fullscreen"],
    )


def _state(page: Page, training: Training | None) -> list[Any]:
    """Return what the tab shows of a training."""
    if training is None:
        return [NONE_YET, "", [], gr.update(visible=False), "", gr.Timer(active=False), gr.update(visible=False)]
    served, printed = training.name in [one.name for one in page.service.classes()], training.output
    running, succeeded = training.running, training.succeeded
    if running:
        words = f"Training **{training.name}**: {page.without_folders(_last(printed))}"
    elif succeeded:
        words = f"**{training.name}** is trained. Choose it in *Generate*."
    else:
        words = (
            f"The training of **{training.name}** stopped before its end. What the trainer printed says why. "
            "*Continue* keeps its finished stages."
        )
    pictures = [(str(path), f"synthetic, step {int(path.stem.rsplit('-', 1)[-1])}") for path in training.previews]
    # The thread that serves the class may be a moment later than the end of the process.
    active = running or (succeeded and not served)
    found = training.sheet
    return [
        words,
        curve(training.losses),
        pictures,
        gr.update(value=found and str(found), visible=found is not None),
        page.without_folders(printed),
        gr.Timer(active=active),
        gr.update(visible=not running and not succeeded),
    ]


def _last(text: str) -> str:
    return text.splitlines()[-1] if text else "starting"
