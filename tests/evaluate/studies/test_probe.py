"""`probe`: accuracies at chance and far from chance, and copies that must not straddle folds."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image

from engine.errors import RequestError
from evaluate.encoders.features import Cyto
from evaluate.images import open_folder
from evaluate.studies.probe import Measured, ProbeSettings, jpeg_quality, probe, tell, through_jpeg
from trainer.pictures.phantom import draw

SETTINGS = ProbeSettings(splits=2)


def gaussians(seed, n, mean=0.0, width=20):
    values = np.random.default_rng(seed).normal(mean, 1, (n, width))
    return Measured({"all": values}, [f"{seed} {i}" for i in range(n)])


def test_pictures_of_one_distribution_are_told_by_chance_and_others_always():
    real = gaussians(0, 160)
    same, other = (tell(real, gaussians(1, 80, mean), 80, SETTINGS)["all"] for mean in (0.0, 2.0))
    assert same.synthetic.low < 0.6
    assert same.synthetic.value < 0.62
    assert other.synthetic.value > 0.99
    assert other.synthetic.low > 0.95
    for found in (same, other):
        assert found.control.value == pytest.approx(0.5, abs=0.1)
        for figure in (found.control, found.synthetic):
            assert 0 <= figure.low <= figure.value <= figure.high <= 1


def test_a_small_shift_is_between():
    found = tell(gaussians(0, 160), gaussians(1, 80, 0.3), 80, SETTINGS)["all"].synthetic
    assert 0.6 < found.low < found.value < found.high < 0.95


def test_copies_of_one_source_are_in_one_fold():
    """Eight copies of each source: a classifier that has seen a copy would recognise the others."""
    real, few = gaussians(0, 160), gaussians(1, 10)
    copies = few.features["all"].repeat(8, axis=0)
    grouped, straddling = (
        tell(real, Measured({"all": copies}, sources), 80, SETTINGS)["all"].synthetic.value
        for sources in (np.repeat(few.sources, 8).tolist(), [str(i) for i in range(80)])
    )
    assert grouped < 0.65
    assert straddling > grouped + 0.2


def test_the_interval_counts_sources():
    real, fake = gaussians(0, 160), gaussians(1, 80, 2.0)
    copies = Measured(fake.features, [str(i // 8) for i in range(80)])
    alone, repeated = (tell(real, one, 80, SETTINGS)["all"].synthetic for one in (fake, copies))
    assert repeated.low < alone.low


def test_the_seed_decides():
    real, fake = gaussians(0, 60), gaussians(1, 30, 0.3)
    first, again, other = (tell(real, fake, 30, ProbeSettings(splits=2, seed=seed)) for seed in (1, 1, 2))
    assert first == again != other


def test_jpeg_keeps_the_resolution_of_colours():
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2, 0], stripes[:, 1::2, 2] = 200, 200
    shown = through_jpeg(stripes, 90).astype(int)
    assert (shown[:, ::2, 0] - shown[:, 1::2, 0]).mean() > 150
    assert (shown != stripes).any()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Phantoms: real and same of one class as PNG, soft as PNG, and same again as JPEG."""
    root = tmp_path_factory.mktemp("probe")
    for name, seeds in {"real": range(20), "same": range(50, 60), "soft": range(50, 60)}.items():
        (root / name).mkdir()
        for seed in seeds:
            picture = Image.fromarray(draw("cyt_mast", seed, 64)[0])
            if name == "soft":
                picture = picture.resize((32, 32)).resize((64, 64))
            picture.save(root / name / f"{seed}.png")
    (root / "jpeg").mkdir()
    for path in (root / "same").iterdir():
        Image.open(path).save(root / "jpeg" / f"{path.stem}.jpg", quality=90)
    return {path.name: open_folder(path) for path in root.iterdir()}


def test_softness_gives_pictures_away(folders):
    settings = ProbeSettings(splits=2, cells="many")
    same, soft = (probe(Cyto(), folders["real"], folders[name], settings) for name in ("same", "soft"))
    assert same.n == soft.n == 10
    assert (soft.side, soft.jpeg) == (64, 0)
    for name in ("gradients", "spectrum"):
        assert soft.accuracies[name].synthetic.value > 0.95
        assert same.accuracies[name].synthetic.value < 0.85
    assert soft.accuracies["gradients"].control == same.accuracies["gradients"].control
    assert json.loads(json.dumps(asdict(soft), allow_nan=False))["n"] == 10


@pytest.mark.parametrize(("fake", "wanted", "used"), [("jpeg", None, 90), ("jpeg", 0, 0), ("same", 80, 80)])
def test_jpeg_is_used_where_formats_differ_or_by_wish(fake, wanted, used, folders):
    assert jpeg_quality(folders["real"], folders[fake], wanted) == used


def test_too_few_pictures_are_refused(folders):
    with pytest.raises(RequestError, match="at least 10"):
        probe(Cyto(), folders["same"], folders["soft"])
    with pytest.raises(RequestError, match="--n 11"):
        probe(Cyto(), folders["real"], folders["same"], ProbeSettings(n=11))


def test_copies_of_too_few_sources_are_refused(folders, tmp_path):
    """Folds cannot hold copies apart if there are fewer sources than folds."""
    lines = []
    (tmp_path / "copies").mkdir()
    for place in range(20):
        Image.fromarray(draw("cyt_mast", place, 64)[0]).save(tmp_path / "copies" / f"{place:02}.png")
        lines.append(json.dumps({"file_name": f"copies/{place:02}.png", "source": str(place % 4)}))
    (tmp_path / "sources.jsonl").write_text("\n".join(lines))
    copies = open_folder(tmp_path / "copies")
    for real, fake in ((copies, folders["same"]), (folders["real"], copies)):
        with pytest.raises(RequestError, match="20 pictures of 4 sources"):
            probe(Cyto(), real, fake)
