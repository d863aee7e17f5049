"""The tab Generate: pictures of a class, from noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import gradio as gr

from engine.bundle.settings import (
    GuidanceSettings,
    HiresSettings,
    PictureSettings,
    SamplingSettings,
    VariationSettings,
    settings_of,
)
from engine.serve.page.context import Page
from engine.serve.page.results import Results
from engine.serve.page.widgets import Widgets
from engine.serve.sdapi.options import PRESET
from engine.serve.service import Drawing

__all__ = ["Steering", "add"]

SAMPLING = ("num_inference_steps", "sampler", "schedule")
PROMPT = ("prompt", "negative_prompt")
VARIATION = ("variation_strength", "variation_seed", "noise_size")
HIRES = ("hires_scale", "hires_upscaler", "hires_steps", "hires_strength")


class Steering:
    """The widgets that every tab that draws has: class, number, seed, and the settings of sampling."""

    def __init__(self, page: Page, *, size: bool) -> None:
        """Add the widgets. size: whether width and height are among them."""
        self._page = page
        limits = page.service.settings.limits
        self.menu = page.menu()
        with gr.Row():
            self.count = gr.Slider(
                1,
                limits.max_pictures,
                value=min(4, limits.max_pictures),
                step=1,
                label="Number of pictures",
                min_width=160,
            )
            self.seed = Widgets(SamplingSettings, ["seed"])
        with gr.Group(visible=self._reads_prompts(self.menu.value)) as self.prompts:
            prompt = Widgets(PictureSettings, PROMPT)
        with gr.Accordion("Settings", open=False):
            sampling = Widgets(SamplingSettings, ["preset", *SAMPLING], choices={"preset": self._presets()})
            guidance = Widgets(GuidanceSettings, ["guidance_scale", "guidance_interval"])
            picture = Widgets(PictureSettings, ["width", "height"] if size else [])
        with gr.Accordion("Larger pictures (hires fix)", open=False):
            hires = Widgets(HiresSettings, HIRES)
        with gr.Accordion("Variations of a seed", open=False):
            variation = Widgets(VariationSettings, VARIATION)
        self.groups = [self.seed, prompt, sampling, guidance, picture, hires, variation]
        self.menu.change(self._adapt, self.menu, [self.prompts, sampling["preset"]], **page.private)

    def _presets(self, bundle: str | None = None) -> list[str]:
        served = self._page.service.bundles
        bundles = [served[bundle]] if bundle is not None else served.values()
        return list(dict.fromkeys(name for one in bundles for name in one.manifest.presets))

    def _reads_prompts(self, model: str) -> bool:
        return any(
            one.model == model and self._page.service.bundles[one.bundle].manifest.text_encoder is not None
            for one in self._page.service.classes()
        )

    def _adapt(self, model: str) -> tuple[Any, Any]:
        """Return what changes with the class: whether prompts are read, and the presets."""
        bundle = self._page.chosen(model).bundle
        names = [("default", ""), *((name, name) for name in self._presets(bundle))]
        return gr.update(visible=self._reads_prompts(model)), gr.update(choices=names, value="")

    @property
    def inputs(self) -> list[Any]:
        """All components whose values `drawing` takes."""
        return [self.menu, self.count, *(one for group in self.groups for one in group.components)]

    def drawing(self, given: Sequence[Any], more: dict[str, Any] | None = None, **parts: Any) -> Drawing:
        """Return the request. Raises RequestError.

        more: values of other settings. parts: fields of the request, such as its initial pictures.
        """
        model, count, *values = given
        found: dict[str, Any] = {}
        for group in self.groups:
            found |= group.values(values[: len(group.components)])
            values = values[len(group.components) :]
        served = self._page.chosen(model)
        if not self._reads_prompts(model):
            found |= dict.fromkeys(PROMPT)
        chosen, _ = self._page.options.chosen({PRESET: found["preset"]}, keep=False)
        defaults = chosen.settings()
        stated = {name: value for name, value in found.items() if value is not None}
        settings = settings_of(**{**found, **defaults, **stated}, **(more or {}))
        return Drawing(served.bundle, served.name, int(count), settings, **parts)


def add(page: Page) -> None:
    """Add the tab."""
    with gr.Tab("Generate", id="generate"), gr.Row():
        with gr.Column(scale=1, min_width=320):
            steering = Steering(page, size=True)
        with gr.Column(scale=2, min_width=320):
            results = Results(page, "generate", seed=steering.seed["seed"])

    def draw(*given: Any) -> Iterator[list[Any]]:
        yield from results.run(steering.drawing(given))

    results.draw.click(page.guarded(draw), steering.inputs, results.outputs, **page.private)
