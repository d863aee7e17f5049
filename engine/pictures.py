"""Picture files: finding, decoding, and recognising synthetic pictures."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps

from engine.errors import RequestError
from engine.files import expect_readable_name, is_hidden

__all__ = [
    "FORMATS",
    "PNG_KEY",
    "SUFFIXES",
    "UNREADABLE",
    "class_names_of",
    "depth_beyond_bytes",
    "expect_distinct_names",
    "expect_one_picture",
    "is_synthetic",
    "open_file",
    "pictures_in",
    "read_picture",
    "read_with_alpha",
    "strangers_in",
]

PNG_KEY = "cytosynth"
"""The PNG text chunk that marks a picture as synthetic and holds its description as JSON."""
SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""File name endings of pictures."""
RECORDS = (".caption", ".csv", ".json", ".jsonl", ".md", ".txt")
"""File name endings of other files that a picture folder may contain."""
FORMATS = ("BMP", "DIB", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
"""Pillow's names of the formats that are read."""
COLOURS = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
"""Pillow's modes whose conversion to RGB is defined without a colour profile."""
PREMULTIPLIED = ("La", "RGBa")
"""Modes whose colours are multiplied by their alpha."""
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""Errors of Pillow for a file that is not an intact picture."""
BITS, COLOUR, DESCRIPTION, SAMPLES, EXTRA, FORMAT = 258, 262, 270, 277, 338, 339
"""TIFF's tags BitsPerSample, PhotometricInterpretation, ImageDescription, SamplesPerPixel, ExtraSamples and
SampleFormat."""
INKS, LUMA = 5, 6
"""PhotometricInterpretation of CMYK, and of luma with chroma (YCbCr)."""


def class_names_of(root: Path) -> list[str]:
    """Return the sorted names of the folders in `root`, without hidden folders, or [] if `root` is no folder."""
    if not root.is_dir():
        return []
    return sorted(inner.name for inner in root.iterdir() if inner.is_dir() and not is_hidden(inner.name))


def pictures_in(folder: Path) -> list[Path]:
    """Return the picture files directly in a folder, sorted by name, without hidden files.

    Raises RequestError for a name that is not in UTF-8.
    """
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not is_hidden(path.name))
    for path in found:
        expect_readable_name(path)
    return found


def expect_distinct_names(paths: Iterable[Path]) -> None:
    """Raise RequestError for two pictures of one name, if what is made of each has the name of its picture."""
    names: dict[str, Path] = {}
    for path in paths:
        if (other := names.setdefault(path.stem.lower(), path)) != path:
            raise RequestError(
                f"The picture {path}",
                found=f"the same name as {other.name}",
                expected="one name per picture, because what is made of it has its name",
                fix="rename one of them",
            )


def strangers_in(folder: Path) -> list[Path]:
    """Return the files directly in a folder that may be pictures of a format that is not read. Hidden files are none.

    Without this list, such pictures would be left out silently.
    """
    kinds = (*SUFFIXES, *RECORDS)
    return sorted(
        file
        for file in folder.iterdir()
        if file.is_file() and file.suffix.lower() not in kinds and not is_hidden(file.name)
    )


def is_synthetic(picture: Image.Image) -> bool:
    """Return whether an opened picture is marked as synthetic, as the pictures of `engine generate` are.

    A PNG is decoded, because its texts may follow the pixels. Raises the exceptions of Pillow.
    """
    if picture.format == "PNG":
        picture.load()
    return PNG_KEY in picture.info


def open_file(path: Path) -> Image.Image:
    """Open a picture file with Pillow; its pixels are not read yet. Raises the exceptions of Pillow."""
    return Image.open(path, formats=FORMATS)


def read_picture(path: Path) -> Image.Image:
    """Return a picture as RGB, rotated as its EXIF orientation states. Transparency is dropped.

    Raises RequestError for a truncated or foreign file, and for a picture that 8-bit RGB cannot hold as it is: more
    than 8 bits per channel, several pages, frames or further channels, and colours such as CMYK or Lab.
    """
    return read_with_alpha(path).convert("RGB")


def read_with_alpha(path: Path) -> Image.Image:
    """Return a picture as RGB, or as RGBA if it has an alpha channel or transparent colours.

    Raises RequestError as read_picture does.
    """
    try:
        with open_file(path) as picture:
            expect_one_picture(picture, path)
            _expect_eight_bits(picture, path)
            _expect_colours(picture, path)
            turned = ImageOps.exif_transpose(picture)
            return turned.convert("RGBA" if turned.has_transparency_data else "RGB")
    except UNREADABLE as error:
        raise RequestError(
            f"The picture {path}",
            found=f"unreadable ({error})",
            expected="an intact picture file with 8 bits per channel",
            fix="replace or convert the file, or remove it from the folder",
        ) from error


@dataclass(frozen=True)
class _Tiff:
    """What the tags of a TIFF file say about its samples."""

    bits: int
    colours: int
    samples: int
    extra: tuple[int, ...]
    signed: bool
    description: str

    @classmethod
    def of(cls, picture: Image.Image) -> _Tiff:
        tags = getattr(picture, "tag_v2", {})
        bits, extra, formats = tags.get(BITS, (1,)), tags.get(EXTRA, ()), tags.get(FORMAT, (1,))
        return cls(
            bits=max(bits if isinstance(bits, tuple) else (bits,)),
            colours=4 if tags.get(COLOUR) == INKS else 3 if tags.get(SAMPLES, 1) >= 3 else 1,
            samples=int(tags.get(SAMPLES, 1)),
            extra=extra if isinstance(extra, tuple) else (extra,),
            signed=any(kind != 1 for kind in (formats if isinstance(formats, tuple) else (formats,))),
            description=str(tags.get(DESCRIPTION, "")),
        )


def depth_beyond_bytes(picture: Image.Image, path: Path) -> str | None:
    """Return what the channels of an opened file are, or None if they are whole numbers of at most 8 bits.

    Pillow itself reads only the upper 8 of 16 bits of a colour.
    """
    signed, bits = False, 32 if picture.mode in ("I", "F") else 16 if picture.mode.startswith("I;") else 8
    if picture.format == "TIFF":
        tiff = _Tiff.of(picture)
        bits, signed = tiff.bits, tiff.signed
    elif picture.format == "PNG":
        with path.open("rb") as file:
            # The signature, the length and name of the header, width and height take 24 bytes.
            bits = file.read(25)[24]
    if bits <= 8 and not signed:
        return None
    return f"{bits} bits per channel" + (", signed or floating" if signed else "")


def expect_one_picture(picture: Image.Image, path: Path) -> None:
    """Raise RequestError if an opened file holds several pages, z-slices or frames, or further channels."""
    tiff = _Tiff.of(picture)
    pages = int(getattr(picture, "n_frames", 1))
    for line in tiff.description.splitlines():
        # ImageJ writes a large stack as one page, and states the number of its pictures only here.
        if tiff.description.startswith("ImageJ=") and line.startswith("images=") and line[7:].strip().isdigit():
            pages = max(pages, int(line[7:]))
    if pages > 1:
        raise RequestError(
            f"The picture {path}",
            found=f"{pages} pages, slices or frames in one file",
            expected="one picture per file",
            fix="save the wanted picture as its own file (in Fiji: Image > Duplicate, or Stacks > Stack to Images)",
        )
    further = tiff.samples - tiff.colours
    if further > 1 or (further == 1 and tiff.extra not in ((1,), (2,))):
        raise RequestError(
            f"The picture {path}",
            found=f"{tiff.samples} channels, of which {further} are neither a colour nor alpha",
            expected="grey or RGB, with or without an alpha channel",
            fix="save the picture as RGB (in Fiji: Image > Type > RGB Color)",
        )


def _expect_eight_bits(picture: Image.Image, path: Path) -> None:
    if (found := depth_beyond_bytes(picture, path)) is not None:
        raise RequestError(
            f"The picture {path}",
            found=found,
            expected="8 bits per channel, because a deeper picture does not say which value is white",
            fix="run `python -m trainer prepare` with --depth-range LO HI on its folder, or save it with 8 bits",
        )


def _expect_colours(picture: Image.Image, path: Path) -> None:
    # Pillow 12 takes a TIFF of luma and chroma for RGB, unless JPEG holds its pixels.
    luma = getattr(picture, "tag_v2", {}).get(COLOUR) == LUMA and picture.info.get("compression") != "jpeg"
    mode = "YCbCr" if luma else picture.mode
    found = None if mode in COLOURS else f"{mode} pixels"
    if picture.mode in PREMULTIPLIED:
        smallest = picture.getchannel("a").getextrema()[0]
        found = None if smallest == 255 else "colours that are multiplied by their transparency"
    if found is not None:
        raise RequestError(
            f"The picture {path}",
            found=found,
            expected="grey, a palette, RGB or RGBA",
            fix="convert it to RGB, with its colour profile, in the program that made it",
        )
