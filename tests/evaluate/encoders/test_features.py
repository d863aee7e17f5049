"""The embedded encoder, the choice of encoders, and the features of a folder."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import RequestError
from evaluate.encoders.features import CYTO, Cyto, features_of, open_encoders
from evaluate.images import open_folder
from trainer.pictures.phantom import draw


def test_the_encoders_features_do_not_depend_on_the_batch():
    encoder = Cyto()
    pictures = np.stack([draw("cyt_mast", seed, encoder.size)[0] for seed in range(5)])
    whole = encoder(pictures)
    assert whole["features"].shape == (5, encoder.record["features"])
    assert whole["logits"].shape == (5, len(encoder.record["classes"]))
    for layer, values in whole.items():
        np.testing.assert_allclose(encoder(pictures[1:3])[layer], values[1:3], rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(encoder(pictures)[layer], values)


def test_a_changed_encoder_is_refused(tmp_path):
    content = bytearray(CYTO.with_suffix(".onnx").read_bytes())
    content[1000] ^= 1
    (tmp_path / "cyto.onnx").write_bytes(content)
    (tmp_path / "cyto.json").write_bytes(CYTO.read_bytes())
    with pytest.raises(RequestError, match="SHA-256"):
        Cyto(tmp_path / "cyto.json")


def test_the_encoder_says_whose_pictures_taught_it():
    record = Cyto().record
    assert "Acevedo" in record["attribution"]
    assert "CC BY 4.0" in record["attribution"]
    assert record["validation_accuracy"] > 0.85


def test_auto_says_that_inception_is_not_here(monkeypatch, tmp_path):
    monkeypatch.delenv("CYTOSYNTH_INCEPTION", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    encoders, said = open_encoders("auto")
    assert [encoder.name for encoder in encoders] == ["cyto", "imagenet"]
    assert "FID, IS and KID were not measured" in said[0]
    with pytest.raises(RequestError, match="evaluate weights"):
        open_encoders("inception")
    monkeypatch.setenv("CYTOSYNTH_INCEPTION", str(CYTO))
    with pytest.raises(RequestError, match="SHA-256"):
        open_encoders("auto")
    with pytest.raises(RequestError, match="--features"):
        open_encoders("dino")


def test_features_are_read_a_batch_at_a_time(phantoms):
    """Only one batch of pictures is in memory."""
    folder = open_folder(phantoms / "real" / "cyt_mast")
    seen = []

    class Watched(Cyto):
        def __call__(self, pictures):
            seen.append(len(pictures))
            return super().__call__(pictures)

    features = features_of(Watched(), folder)
    assert seen == [16, 8]
    assert len(features["features"]) == 24
