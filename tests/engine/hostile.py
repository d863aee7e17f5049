"""PNG files with any text as their description."""

from __future__ import annotations

from PIL import Image
from PIL.PngImagePlugin import PngInfo


def hostile_png(path, text, key="cytosynth"):
    info = PngInfo()
    info.add_itxt(key, text)
    Image.new("RGB", (2, 2)).save(path, pnginfo=info)
