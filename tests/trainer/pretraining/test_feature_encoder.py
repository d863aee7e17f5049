"""The encoder of `evaluate`: training, its ONNX file and its record."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import onnxruntime
from PIL import Image

from trainer.pretraining.feature_encoder import train_encoder
from trainer.pretraining.settings import EncoderSettings


def test_it_learns_two_colours_and_its_file_takes_any_number_of_pictures(tmp_path):
    rng = np.random.default_rng(0)
    for name, colour in (("blue", (60, 60, 200)), ("red", (200, 60, 60))):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(12):
            pixels = np.clip(np.array(colour) + rng.normal(0, 10, (16, 16, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / name / f"{number:02d}.png")
    out = tmp_path / "made/cyto.onnx"
    settings = EncoderSettings(attribution="A. B.", work=tmp_path / "work", steps=40, batch_size=8)
    record = train_encoder([tmp_path / "data"], out, settings)
    assert json.loads(out.with_suffix(".json").read_text()) == json.loads(json.dumps(record))
    assert record["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert (record["classes"], record["pictures"]) == (["blue", "red"], {"blue": 12, "red": 12})
    assert (record["validation_pictures"], record["attribution"]) == (4, "A. B.")
    assert record["validation_accuracy"] == 1
    session = onnxruntime.InferenceSession(out)
    images = np.array([np.full((16, 16, 3), (60, 60, 200)), np.full((16, 16, 3), (200, 60, 60))], np.uint8)
    features, logits = session.run(None, {"images": images})
    assert features.shape == (2, 128)
    assert logits.argmax(1).tolist() == [0, 1]
    assert session.run(None, {"images": images[:1]})[0].shape == (1, 128)
