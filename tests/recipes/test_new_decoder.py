"""A bundle that takes the decoder of another bundle, and keeps everything else byte for byte."""

from __future__ import annotations

import json

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


def test_a_decoder_of_other_latents_is_refused(tiny_bundle, bundle_copy, tmp_path):
    manifest = json.loads((bundle_copy / "manifest.json").read_text())
    manifest["latents"]["height"] = 16
    (bundle_copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RequestError, match="The field latents"):
        take_decoder(tiny_bundle, bundle_copy, tmp_path / "out")
    assert not (tmp_path / "out").exists()
