"""The job with which the model of a class draws tiles."""

from __future__ import annotations

import pytest

from engine.bundle.folder import open_bundle
from engine.bundle.settings import AUTO, HardwareSettings, RequestSettings
from engine.errors import RequestError
from engine.runs.tile_job import UpscaleSettings, tile_job


def test_a_tile_has_the_size_of_the_bundle_and_a_quarter_overlaps(tiny_bundle):
    tiles = tile_job(open_bundle(str(tiny_bundle)), UpscaleSettings(class_name="cyt_mast"), RequestSettings())
    assert (tiles.job.request.width, tiles.overlap) == (32, 8)
    assert tiles.job.start.strength == 0.3


def test_what_tiles_cannot_be_is_refused(tiny_bundle):
    bundle, wide = open_bundle(str(tiny_bundle)), UpscaleSettings(class_name="cyt_mast", overlap=32)
    measured = RequestSettings(hardware=HardwareSettings(batch_size=AUTO))
    with pytest.raises(RequestError, match="--overlap"):
        tile_job(bundle, wide, RequestSettings())
    measured = RequestSettings(hardware=HardwareSettings(batch_size=AUTO))
    with pytest.raises(RequestError, match="--batch-size"):
        tile_job(bundle, UpscaleSettings(class_name="cyt_mast"), measured)
    with pytest.raises(RequestError, match="one class"):
        tile_job(bundle, UpscaleSettings(class_name="all"), RequestSettings())
