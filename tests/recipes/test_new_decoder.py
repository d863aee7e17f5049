"""A bundle that takes the decoder of another bundle, and keeps everything else byte for byte."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from engine.api.engine import Engine
from engine.bundle.folder import open_bundle
from engine.errors import RequestError
from recipes.new_decoder import take_decoder


def pictures(folder):
    engine = Engine.open(str(folder), backend="onnxruntime")
    (batch,) = engine.generate("cyt_mast", 2, batch_size=2, num_inference_steps=2)
    return batch.images


def test_only_the_decoder_changes(tiny_bundle, stochastic, tmp_path):
    donor, out = stochastic / "bundle", tmp_path / "out"
    take_decoder(tiny_bundle, donor, out)
    bundle = open_bundle(str(out))
    bundle.verify(bundle.manifest.files)
    assert bundle.manifest.decoder_inputs(1, (4, 8, 8)).keys() == {"latents", "noise"}
    taken, given = (json.loads((folder / "manifest.json").read_text()) for folder in (out, donor))
    assert taken["decoder_jpeg"] == given["decoder_jpeg"]
    for path in tiny_bundle.iterdir():
        if path.is_file() and path.name != "manifest.json":
            source = donor if path.name in bundle.manifest.decoder else tiny_bundle
            assert (out / path.name).read_bytes() == (source / path.name).read_bytes(), path.name
    found, wanted = (pictures(folder) for folder in (out, donor))
    np.testing.assert_array_equal(found, wanted)


def test_a_preset_keeps_its_unets_and_loses_its_small_decoder(bundle_copy, stochastic, tmp_path):
    """The small decoder learned from the old decoder."""
    manifest = json.loads((bundle_copy / "manifest.json").read_text())
    small = [f"preset.turbo.{name}" for name in manifest["decoder"]]
    for name, source in zip(small, manifest["decoder"], strict=True):
        shutil.copy(bundle_copy / source, bundle_copy / name)
        manifest["files"][name] = manifest["files"][source]
    row = {"sigma": 1.0, "timestep": 500, "guidance_scale": 1, "a": 1, "b": 0}
    unets = {"cyt_mast": {name: manifest["classes"]["cyt_mast"][name] for name in ("unet", "weights")}}
    manifest |= {"format_version": 4, "presets": {"turbo": {"table": [row], "unets": unets, "decoder": small}}}
    (bundle_copy / "manifest.json").write_text(json.dumps(manifest))
    take_decoder(bundle_copy, stochastic / "bundle", tmp_path / "out")
    taken = json.loads((tmp_path / "out/manifest.json").read_text())
    assert taken["presets"] == {"turbo": {"table": [row], "unets": unets}}
    assert taken["format_version"] == 3
    assert not list((tmp_path / "out").glob("preset.*"))
    bundle = open_bundle(str(tmp_path / "out"))
    bundle.verify(bundle.manifest.files)


def test_a_decoder_of_other_latents_is_refused(tiny_bundle, bundle_copy, tmp_path):
    manifest = json.loads((bundle_copy / "manifest.json").read_text())
    manifest["latents"]["height"] = 16
    (bundle_copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RequestError, match="The field latents"):
        take_decoder(tiny_bundle, bundle_copy, tmp_path / "out")
    assert not (tmp_path / "out").exists()
