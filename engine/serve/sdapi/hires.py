"""The second pass of txt2img (hires fix), as settings of the engine."""

from __future__ import annotations

from typing import Any

from engine.serve.sdapi.errors import ApiError
from engine.serve.sdapi.fields import Txt2Img
from engine.serve.sdapi.names import hires_upscaler_of, is_same

__all__ = ["hires_settings"]

STRENGTH = 0.7
"""Strength of a second pass that does not state one, as on the WebUI's page."""


def hires_settings(fields: Txt2Img, picture_size: tuple[int, int]) -> tuple[dict[str, Any], list[str]]:
    """Return the settings of the second pass, or nothing without one, and warnings. Raises ApiError.

    picture_size: width and height of the bundle's pictures, which hold if the request states none.
    """
    if not fields.enable_hr:
        return {}, []
    if not is_same(fields.hr_checkpoint_name):
        raise ApiError(422, "hr_checkpoint_name: the second pass has the class of the first. Leave the field out.")
    width, height = fields.width or picture_size[0], fields.height or picture_size[1]
    found: dict[str, Any] = {
        "hires_upscaler": hires_upscaler_of(fields.hr_upscaler),
        "hires_steps": fields.hr_second_pass_steps or None,
        "hires_strength": STRENGTH if fields.denoising_strength is None else fields.denoising_strength,
    }
    if fields.firstphase_width or fields.firstphase_height:
        # The old form: width and height are the final size.
        found |= {"hires_size": (width, height)}
        found |= {"width": fields.firstphase_width or width, "height": fields.firstphase_height or height}
    else:
        found["hires_size"] = _size(fields, width, height)
    return found, _differences(fields)


def _size(fields: Txt2Img, width: int, height: int) -> tuple[int, int]:
    """Return width and height of the second pass. One side of 0 keeps the shape."""
    to_width, to_height = fields.hr_resize_x, fields.hr_resize_y
    if not to_width and not to_height:
        return int(width * fields.hr_scale), int(height * fields.hr_scale)
    return to_width or to_height * width // height, to_height or to_width * height // width


def _differences(fields: Txt2Img) -> list[str]:
    """Return a warning for each field that asks for another second pass than the settings of the first."""
    first = {
        "hr_sampler_name": fields.sampler_name or fields.sampler_index or "",
        "hr_scheduler": fields.scheduler or "",
        "hr_prompt": fields.prompt,
        "hr_negative_prompt": fields.negative_prompt,
    }
    return [
        f"{name} is not supported: the second pass has that of the first"
        for name, own in first.items()
        if not is_same(getattr(fields, name)) and getattr(fields, name).lower() != own.lower()
    ]
