import io

import pytest
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from engine.output.picture_texts import read_texts

PICTURE = Image.new("RGB", (4, 4))


def saved(kind, **options):
    file = io.BytesIO()
    PICTURE.save(file, format=kind, **options)
    return file


def test_the_texts_of_a_png_are_read_from_memory_and_from_a_file(tmp_path):
    info = PngInfo()
    info.add_text("parameters", "a cell")
    info.add_itxt("other", "é")
    file = saved("PNG", pnginfo=info)
    (tmp_path / "a.png").write_bytes(file.getvalue())
    for place in (file, tmp_path / "a.png"):
        found = read_texts(place)
        assert found.comment == "a cell"
        assert found.chunks == {"parameters": "a cell", "other": "é"}


def test_the_comments_of_other_formats_are_read():
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = b"UNICODE\0" + "a cell".encode("utf-16-be")
    assert read_texts(saved("JPEG", exif=exif)).comment == "a cell"
    assert read_texts(saved("GIF", comment=b"a cell")).comment == "a cell"
    assert read_texts(saved("WEBP")).comment == ""


def test_what_is_no_picture_raises_an_exception_of_the_decoder():
    with pytest.raises(OSError, match="identify"):
        read_texts(io.BytesIO(b"text"))
