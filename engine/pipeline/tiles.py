"""Large pictures, drawn again in overlapping tiles of the size that the base was trained on.

All tiles of a picture are cut from one field of noise. So two tiles draw much the same where they overlap, and a linear
ramp hides the rest of the seam. The coarse colours of the picture stay, because a tile shows too little of it to know
them. The memory does not grow with the number of tiles.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.backends.base import Backend
from engine.bundle.job import Job
from engine.errors import CytosynthError
from engine.pipeline.encoder import Encoder, padded
from engine.pipeline.loops import Start
from engine.pipeline.pipeline import Decoder, Denoiser, opened_in
from engine.sampling.noise import DECODER, LATENTS, NoiseSource, Stream

__all__ = ["TiledPipeline", "tile_starts", "with_coarse_colours"]

Pixels = NDArray[np.uint8]
Field = NDArray[np.float32]
COARSE = 6
"""Parts per side of a tile whose mean colours stay those of the enlarged picture."""


def tile_starts(side: int, tile: int, overlap: int) -> list[int]:
    """Return where tiles begin on a side, so that neighbours share at least `overlap`. The last tile ends with it."""
    count = 1 if side <= tile else -(-(side - overlap) // (tile - overlap))
    return [round(i * (side - tile) / max(1, count - 1)) for i in range(count)]


def with_coarse_colours(drawn: Pixels, source: Pixels) -> Field:
    """Return a drawn tile (H, W, 3) float32 whose mean colours, over each part of a COARSE x COARSE grid, are those of
    the source (H, W, 3) uint8. The correction is smooth between the parts."""
    difference = source.astype(np.float32) - drawn
    height, width = drawn.shape[:2]
    for channel in range(3):
        plane = Image.fromarray(np.ascontiguousarray(difference[..., channel]))
        coarse = plane.resize((COARSE, COARSE), Image.Resampling.BOX)
        difference[..., channel] = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
    return np.asarray(np.clip(drawn + difference, 0, 255), np.float32)


@dataclass(frozen=True)
class _Tile:
    """The place of a tile in units of latents."""

    top: int
    left: int
    height: int
    width: int

    def window(self, scale: int) -> tuple[slice, slice]:
        """Return the rows and columns of the tile in an array whose sides are `scale` times those of the latents."""
        rows = slice(scale * self.top, scale * (self.top + self.height))
        return rows, slice(scale * self.left, scale * (self.left + self.width))


class _TileNoise:
    """The noise of a batch of tiles: each draw is one field, of which every tile has its part."""

    def __init__(self, field: NoiseSource, tiles: Sequence[_Tile]) -> None:
        self._field, self._tiles = field, tiles

    def draw(self) -> Field:
        """See engine.sampling.noise.Noise."""
        field = self._field.draw()[0]
        return np.stack([field[:, *tile.window(1)] for tile in self._tiles])


class TiledPipeline:
    """Encodes, changes and decodes pictures of any size with models of one size. Use it as a context manager."""

    def __init__(self, job: Job, class_name: str, backend: Backend, overlap: int) -> None:
        """job: a job whose size is that of a tile and that starts from latents. overlap: in pixels, below the tile."""
        self._job, self._class_name = job, class_name
        pixels = job.bundle.manifest.pixels_per_latent
        self._pixels, self._overlap = pixels, -(-overlap // pixels)
        with ExitStack() as opened:
            self._encoder = opened_in(opened, Encoder(job, backend))
            self._denoiser = opened_in(opened, Denoiser(job, class_name, backend))
            self._decoder = opened_in(opened, Decoder(job, class_name, backend))
            self._opened = opened.pop_all()

    def run(self, picture: Pixels, seed: int, stop: threading.Event, on_tile: Callable[[int, int], None]) -> Pixels:
        """Return a picture (H, W, 3) uint8 drawn again.

        on_tile: called with the number of tiles that are done, and of all. Raises Stopped if `stop` is set, and
        CytosynthError if a tile is not finite.
        """
        height, width = picture.shape[:2]
        whole = self._grown(picture)
        tiles = self._tiles(whole.shape[0] // self._pixels, whole.shape[1] // self._pixels)
        grain = self._grain(seed, whole.shape)
        total, weights = np.zeros(whole.shape, np.float32), np.zeros(whole.shape[:2], np.float32)
        size = self._job.request.batch_size
        for first in range(0, len(tiles), size):
            batch = tiles[first : first + size]
            drawn = self._draw(whole, batch, grain, seed, stop)
            for tile, image in zip(batch, drawn, strict=True):
                ramp = self._ramp(tile, whole.shape)
                window = tile.window(self._pixels)
                total[window] += with_coarse_colours(image, whole[window]) * ramp[..., None]
                weights[window] += ramp
            on_tile(first + len(batch), len(tiles))
        return np.asarray(np.round(total / weights[..., None]), np.uint8)[:height, :width]

    def _draw(
        self, whole: Pixels, tiles: list[_Tile], grain: dict[str, Field], seed: int, stop: threading.Event
    ) -> Pixels:
        """Return the tiles (B, H, W, 3) of one batch, which is filled up with the last tile."""
        count = len(tiles)
        images = np.stack([whole[tile.window(self._pixels)] for tile in tiles])
        batch = self._job.request.batch_size
        full = [*tiles, *[tiles[-1]] * (batch - count)]
        latents = self._encoder.run(padded(images, batch))
        field = NoiseSource([seed], self._shape(whole), self._job.request.rng, stream=self._stream(LATENTS))
        latents = self._denoiser.run(_TileNoise(field, full), stop, Start(latents))
        noise = self._job.bundle.manifest.decoder_noise
        inputs = {}
        if noise is not None:
            inputs = {
                name: np.stack([values[:, *tile.window(noise.scale)] for tile in tiles])
                for name, values in grain.items()
            }
        drawn, finite = self._decoder.run(latents[:count], inputs)
        if not finite.all():
            raise CytosynthError(
                "A tile of the picture",
                found="values that are not finite",
                expected="finite pixels",
                fix="add --precision f32, or lower --guidance-scale",
            )
        return drawn

    def _shape(self, whole: Pixels) -> tuple[int, int, int]:
        channels = self._job.latent_shape[0]
        return channels, whole.shape[0] // self._pixels, whole.shape[1] // self._pixels

    def _stream(self, number: int) -> Stream:
        return Stream(number, None if self._job.request.shared_noise else self._class_name)

    def _grain(self, seed: int, shape: tuple[int, ...]) -> dict[str, Field]:
        """Return the decoder's noise for the whole picture, (planes, H, W) float32."""
        noise = self._job.bundle.manifest.decoder_noise
        if noise is None:
            return {}
        planes, *sides = noise.shape((0, shape[0] // self._pixels, shape[1] // self._pixels))
        # One plane after the other: float64 numbers of all planes at once would take most of the memory.
        source = NoiseSource([seed], (1, sides[0], sides[1]), self._job.request.rng, stream=self._stream(DECODER))
        grain = np.empty((planes, *sides), np.float32)
        for plane in grain:
            plane[:] = source.draw()[0, 0]
        return {"noise": grain}

    def _grown(self, picture: Pixels) -> Pixels:
        """Return a picture continued by its edge to whole latents, and to a tile at least."""
        request, pixels = self._job.request, self._pixels
        sides = [
            max(tile, -(-side // pixels) * pixels)
            for side, tile in zip(picture.shape[:2], (request.height, request.width), strict=True)
        ]
        grow = [(0, sides[i] - picture.shape[i]) for i in (0, 1)]
        return np.pad(picture, (*grow, (0, 0)), mode="edge")

    def _tiles(self, height: int, width: int) -> list[_Tile]:
        _, tile_height, tile_width = self._job.latent_shape
        tops = tile_starts(height, tile_height, self._overlap)
        lefts = tile_starts(width, tile_width, self._overlap)
        return [_Tile(top, left, tile_height, tile_width) for top, left in product(tops, lefts)]

    def _ramp(self, tile: _Tile, shape: tuple[int, ...]) -> Field:
        """Return the weights (H, W) of a tile: they fall linearly to its edges, except at the picture's own edges."""
        ramps = []
        for start, length, side in ((tile.top, tile.height, shape[0]), (tile.left, tile.width, shape[1])):
            pixels, overlap = length * self._pixels, max(1, self._overlap * self._pixels)
            from_start = (np.arange(pixels) + 0.5) / overlap if start else np.ones(pixels)
            last = (start + length) * self._pixels == side
            from_end = np.ones(pixels) if last else (np.arange(pixels)[::-1] + 0.5) / overlap
            ramps.append(np.minimum(np.minimum(from_start, from_end), 1))
        return np.asarray(np.outer(*ramps), np.float32)

    def close(self) -> None:
        """Close the graphs."""
        self._opened.close()
