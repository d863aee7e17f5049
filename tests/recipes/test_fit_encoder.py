"""A new encoder learns to invert the decoder, and everything else in the base stays."""

from __future__ import annotations

import json
import sys
from operator import attrgetter
from pathlib import Path

import pytest

from recipes import fit_encoder
from trainer.base.base import digest_of, open_base


@pytest.mark.slow
def test_an_encoder_is_fitted_to_the_decoder_and_all_else_stays(
    whole_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, few = tmp_path / "out", ["--samples", "4", "--steps", "40", "--texture-steps", "12", "--device", "cpu"]
    words = [str(path) for path in (whole_path / "base", out, whole_path / "prepared")]
    monkeypatch.setattr(sys, "argv", ["fit_encoder", *words, *few])
    fit_encoder.main()
    before, after = open_base(whole_path / "base"), open_base(out)
    for part in ("unet", "text_encoder", "vae.decoder", "vae.encoder"):
        same = digest_of(attrgetter(part)(before)) == digest_of(attrgetter(part)(after))
        assert same == (part != "vae.encoder"), part
    found = json.loads((out / "record.json").read_text())
    assert found["start"] == json.loads((whole_path / "base/record.json").read_text())
    assert found["encoder"]["by_pixels"]["loss_last"] < found["encoder"]["by_pixels"]["loss_first"]
    assert found["encoder"]["by_texture"]["steps_done"] == 12
