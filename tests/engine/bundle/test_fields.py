"""Fields of the manifest: each check returns the value, or an error that names the place."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.bundle.fields import Field
from engine.errors import RequestError

TREE = {"name": "cells", "sizes": [3, 4], "scale": 1.5, "flag": True, "files": {"a.bin": {}}}
TOP = Field(Path("manifest.json"), "", TREE)


def test_values_come_back_with_their_place():
    assert TOP["name"].text() == TOP["name"].choice("cells", "other") == "cells"
    assert [(size.field, size.whole(1, 9)) for size in TOP["sizes"].elements()] == [("sizes[0]", 3), ("sizes[1]", 4)]
    assert TOP["scale"].number(1, 2) == 1.5
    assert [(name, value.field) for name, value in TOP["files"].items()] == [("a.bin", "files.a.bin")]
    assert TOP.has("scale")
    assert not TOP.has("absent")


@pytest.mark.parametrize(
    ("place", "check"),
    [
        ("name", lambda top: top["name"].whole(0, 9)),
        ("name", lambda top: top["name"].choice("other")),
        ("name", lambda top: top["name"].name_in(["a.bin"])),
        ("name", lambda top: top["name"].items()),
        ("flag", lambda top: top["flag"].number(0, 2)),
        ("scale", lambda top: top["scale"].number(2, 3)),
        ("sizes[1]", lambda top: top["sizes"].elements()[1].whole(0, 3)),
        ("files", lambda top: top["files"].elements()),
        ("files.b.bin", lambda top: top["files"]["b.bin"]),
    ],
)
def test_an_error_names_the_place(place, check):
    with pytest.raises(RequestError) as caught:
        check(TOP)
    assert caught.value.subject == f"The manifest manifest.json, field {place}"


@pytest.mark.parametrize("name", ["", ".", "..", "/", "/etc/passwd", "a/b", "a\\b", "c:x", "a\nb", "ä" * 101])
def test_a_file_name_that_could_lead_elsewhere_is_refused(name):
    with pytest.raises(RequestError, match="a plain file name"):
        TOP["files"].check_file_name(name)


def test_a_plain_file_name_passes():
    TOP["files"].check_file_name("unet.cyt_mast.onnx")
