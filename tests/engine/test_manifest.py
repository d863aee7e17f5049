"""The manifest is checked field by field and never trusted."""

from __future__ import annotations

import json

import pytest

from engine.errors import RequestError
from engine.manifest import read_manifest


@pytest.fixture
def change(bundle_copy):
    """Change the manifest in place; returns its path."""

    def apply(edit):
        path = bundle_copy / "manifest.json"
        manifest = json.loads(path.read_text())
        edit(manifest)
        path.write_text(json.dumps(manifest))
        return path

    return apply


def entry(manifest):
    return {"sha256": "0" * 64, "bytes": 1}


EDITS = {
    "format_version": lambda m: m.update(format_version=99),
    "files.../../etc/passwd": lambda m: m["files"].update({"../../etc/passwd": entry(m)}),
    "files./etc/passwd": lambda m: m["files"].update({"/etc/passwd": entry(m)}),
    "files.sub/unet.bin": lambda m: m["files"].update({"sub/unet.bin": entry(m)}),
    "files.unet.bin.sha256": lambda m: m["files"]["unet.bin"].update(sha256="abc"),
    "files.unet.bin.bytes": lambda m: m["files"]["unet.bin"].update(bytes=-1),
    "classes.cyt_mast.unet": lambda m: m["classes"]["cyt_mast"].update(unet="../other.onnx"),
    "classes.cyt_mast.origin": lambda m: m["classes"]["cyt_mast"].update(origin="hearsay"),
    "classes.cyt_mast.licence": lambda m: m["classes"]["cyt_mast"].pop("licence"),
    "classes.../up": lambda m: m["classes"].update({"../up": m["classes"]["cyt_mast"]}),
    "latents.channels": lambda m: m["latents"].update(channels="4"),
    "latents.height": lambda m: m["latents"].update(height=10**9),
    "schedule.prediction_type": lambda m: m["schedule"].update(prediction_type="v_prediction"),
    "schedule.beta_end": lambda m: m["schedule"].update(beta_end=float("nan")),
    "defaults.num_inference_steps": lambda m: m["defaults"].update(num_inference_steps=True),
    "time_features.frequencies": lambda m: m["time_features"].update(frequencies=[]),
    "decoder[0]": lambda m: m["decoder"].__setitem__(0, "absent.onnx"),
}


@pytest.mark.parametrize("field", EDITS)
def test_a_wrong_field_is_named(field, change):
    with pytest.raises(RequestError) as caught:
        read_manifest(change(EDITS[field]))
    assert f"field {field}" in caught.value.subject
    assert caught.value.expected
    assert caught.value.mend


def test_what_is_no_json_is_refused(bundle_copy):
    (bundle_copy / "manifest.json").write_bytes(b"\xff{")
    with pytest.raises(RequestError, match="unreadable"):
        read_manifest(bundle_copy / "manifest.json")


def test_a_link_in_place_of_a_file_is_refused(bundle_copy, command):
    path = bundle_copy / "unet.bin"
    path.rename(bundle_copy / "elsewhere")
    path.symlink_to(bundle_copy / "elsewhere")
    done = command("engine", "verify", bundle_copy)
    assert done.returncode == 2
    assert "a link" in done.stderr
