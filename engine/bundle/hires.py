"""The second pass of a request: checked against the bundle and the first pass."""

from __future__ import annotations

from engine.bundle.manifest import Manifest
from engine.bundle.settings import HiresSettings
from engine.errors import RequestError
from engine.options import Range, check_settings, check_within, expect_unset
from engine.sampling.hires import Hires

__all__ = ["check_side", "expect_encoder", "hires_request"]

MAX_SIDE = 4096


def hires_request(
    settings: HiresSettings, first: tuple[int, int], steps: int, manifest: Manifest, *, varied: bool
) -> Hires | None:
    """Return the checked second pass of a request, or None if it has none. Raises RequestError.

    Args:
        settings: The settings of the second pass.
        first: Width and height of the first pass.
        steps: Number of steps of the first pass.
        manifest: The bundle's manifest.
        varied: Whether the request has initial pictures, which exclude a second pass.
    """
    check_settings(settings)
    scale, size = settings.hires_scale, settings.hires_size
    if scale is None and size is None:
        expect_unset(settings, HiresSettings(), "--hires-scale or --hires-size")
        return None
    for flag, wrong in (("--hires-size", scale is not None and size is not None), ("--init", varied)):
        if wrong:
            raise RequestError(
                "--hires-scale" if scale is not None else "--hires-size",
                found=f"{flag}, too",
                expected="a second pass of one size, after a first pass that starts from noise",
                fix=f"leave out {flag}; `engine upscale` enlarges existing pictures",
            )
    width, height = size or (int(first[0] * (scale or 1)), int(first[1] * (scale or 1)))
    if width < first[0] or height < first[1]:
        raise RequestError(
            "--hires-size",
            found=f"{width} x {height} pixels",
            expected=f"at least the size of the first pass, {first[0]} x {first[1]} pixels",
            fix="raise it, or lower --width and --height",
        )
    flag = "--hires-scale" if size is None else "--hires-size"
    for side in (width, height):
        check_side(flag, side, manifest)
    check_within("--hires-steps", settings.hires_steps or 1, Range(1, manifest.noise.num_train_timesteps))
    hires = Hires(
        width,
        height,
        settings.hires_upscaler,
        steps if settings.hires_steps is None else settings.hires_steps,
        settings.hires_strength,
    )
    if hires.needs_pictures:
        expect_encoder(manifest, f"--hires-upscaler {hires.upscaler}")
    finer = hires.level.steps(hires.steps)
    check_within("--hires-steps / --hires-strength", finer, Range(1, manifest.noise.num_train_timesteps))
    return hires


def check_side(flag: str, side: int, manifest: Manifest) -> None:
    """Raise RequestError unless a side in pixels is in range and a multiple that the UNet can halve."""
    multiple = manifest.latent_multiple * manifest.pixels_per_latent
    check_within(flag, side, Range(multiple, MAX_SIDE))
    if side % multiple:
        near = side // multiple * multiple
        raise RequestError(
            flag,
            found=str(side),
            expected=f"a multiple of {multiple}",
            fix=f"use {near} or {near + multiple}",
        )


def expect_encoder(manifest: Manifest, flag: str) -> None:
    """Raise RequestError that names the flag if the bundle has no VAE encoder."""
    if manifest.vae_encoder is None:
        raise RequestError(
            flag,
            found=f"no VAE encoder in the bundle {manifest.name}",
            expected="a bundle with a VAE encoder, which turns pictures into latents",
            fix="add it: export one of its classes again with `python -m exporter onnx MERGED --out BUNDLE`",
        )
