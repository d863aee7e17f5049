"""The manifest is replaced as a whole, or not at all."""

from __future__ import annotations

import pytest

from engine.errors import RequestError
from exporter.manifest_file import load_manifest, replace_manifest


def test_a_manifest_that_the_engine_cannot_read_changes_nothing(bundle_copy, tmp_path):
    before = {path.name: path.read_bytes() for path in bundle_copy.iterdir() if path.is_file()}
    (tmp_path / "new").write_bytes(b"new")
    manifest = load_manifest(bundle_copy)
    manifest["classes"]["cyt_mast"]["unet"] = "absent.onnx"
    with pytest.raises(RequestError, match=r"classes\.cyt_mast\.unet"):
        replace_manifest(bundle_copy, manifest, {"unet.bin": tmp_path / "new"})
    assert {path.name: path.read_bytes() for path in bundle_copy.iterdir() if path.is_file()} == before


def test_new_files_come_with_the_manifest(bundle_copy, tmp_path):
    (tmp_path / "new").write_bytes(b"new")
    manifest = load_manifest(bundle_copy)
    replace_manifest(bundle_copy, {**manifest, "base": "another base"}, {"extra.bin": tmp_path / "new"})
    assert load_manifest(bundle_copy)["base"] == "another base"
    assert (bundle_copy / "extra.bin").read_bytes() == b"new"
