"""Errors in the shape that clients of the WebUI know, without a traceback and without paths of this machine."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError

from engine.errors import CytosynthError, RequestError
from engine.failures import as_cytosynth_error
from engine.serve.public import without_folders
from engine.serve.sdapi.answer import JSON
from engine.serve.service import Cancelled, QueueFull

__all__ = ["ApiError", "add_errors", "words_of"]

FIELDS = {
    "--steps": "steps",
    "--guidance-scale": "cfg_scale",
    "--negative-prompt": "negative_prompt",
    "--prompt": "prompt",
    "--width": "width",
    "--height": "height",
    "--batch-size": "batch_size",
    "--seed": "seed",
    "--variation-seed": "subseed",
    "--variation-strength": "subseed_strength",
    "--noise-size": "seed_resize_from_w and seed_resize_from_h",
    "--preset": "override_settings.cytosynth_preset",
    "--sampler": "sampler_name",
    "--schedule": "scheduler",
    "--clip-skip": "CLIP_stop_at_last_layers",
    "--strength": "denoising_strength",
    "--init": "init_images",
    "--mask-blur": "mask_blur",
    "--mask-padding": "inpaint_full_res_padding",
    "--mask-invert": "inpainting_mask_invert",
    "--mask": "mask",
    "--resize-mode": "resize_mode",
    "--hires-scale": "hr_scale",
    "--hires-size": "hr_resize_x and hr_resize_y",
    "--hires-steps": "hr_second_pass_steps",
    "--hires-strength": "denoising_strength",
    "--hires-upscaler": "hr_upscaler",
}
"""The fields of a request by the option of the command line that an error of the engine names."""
OPTION = re.compile(r"--[a-z]+(?:-[a-z]+)*")


class ApiError(Exception):
    """An error with its status. The WebUI raises HTTPException for the same."""

    def __init__(self, status: int, detail: str) -> None:
        self.status, self.detail = status, detail
        super().__init__(detail)


def shaped(status: int, kind: str, detail: str, errors: str = "", headers: dict[str, str] | None = None) -> JSON:
    """Return an error as the WebUI answers it."""
    return JSON({"error": kind, "detail": detail, "body": "", "errors": errors}, status, headers)


def words_of(text: str) -> str:
    """Return a text of the engine with the names of fields instead of options, and without folders."""
    return without_folders(OPTION.sub(lambda found: FIELDS.get(found[0], found[0]), text))


def add_errors(app: FastAPI) -> None:
    """Answer every exception of a route as an error in this shape."""
    handlers: dict[type[Exception], Callable[[Request, Any], Awaitable[JSON]]] = {
        ApiError: _api_error,
        QueueFull: _queue_full,
        Cancelled: _cancelled,
        RequestValidationError: _invalid,
        Exception: _failure,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)
    for known in (CytosynthError, OSError, MemoryError, OverflowError, UnicodeError):
        app.add_exception_handler(known, _failure)


async def _api_error(_: Request, error: ApiError) -> JSON:
    return shaped(error.status, "HTTPException", error.detail)


async def _queue_full(_: Request, error: QueueFull) -> JSON:
    return shaped(503, "HTTPException", str(error), headers={"Retry-After": str(error.retry_after_s)})


async def _cancelled(_: Request, error: Cancelled) -> JSON:
    return shaped(409, "HTTPException", str(error))


async def _invalid(_: Request, error: RequestValidationError) -> JSON:
    # What was sent may be large, or no JSON value at all, such as NaN.
    found = [{"loc": list(one["loc"]), "msg": str(one["msg"])[:500], "type": one["type"]} for one in error.errors()]
    return JSON({"detail": found}, 422)


async def _failure(_: Request, error: Exception) -> JSON:
    """Answer an error of the engine. A fault of the program says nothing about itself; the log has its traceback."""
    known = as_cytosynth_error(error)
    if known is None:
        return shaped(500, type(error).__name__, "", "a fault of the server, which its log describes")
    if isinstance(known, RequestError):
        return shaped(422, "RequestError", words_of(str(known)))
    return shaped(500, "CytosynthError", "", words_of(str(known)))
