"""`score`: the floor, the controls, what they can tell, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from engine.errors import RequestError
from evaluate.features import check_encoder, extract_features
from evaluate.images import blur, read_folder
from evaluate.score import sample_size, score
from trainer.phantom import draw


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Phantoms of two classes: 16 real, 10 "synthetic" of the same class, 9 of another."""
    root = tmp_path_factory.mktemp("folders")
    for name, class_name, seeds in (
        ("real", "cyt_mast", range(16)),
        ("fake", "cyt_mast", range(100, 110)),
        ("other", "cyt_kist_mast", range(9)),
    ):
        (root / name).mkdir()
        for seed in seeds:
            Image.fromarray(draw(class_name, seed, 64)[0]).save(root / name / f"{seed:04d}.png")
    return root


def test_the_encoders_features_do_not_depend_on_the_batch():
    encoder = check_encoder()
    pictures = np.stack([draw("cyt_mast", seed, encoder.size)[0] for seed in range(5)])
    one, all_at_once = (extract_features(encoder, pictures, batch_size) for batch_size in (2, 5))
    assert one.shape == (5, encoder.record["features"])
    np.testing.assert_allclose(one, all_at_once, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(all_at_once, extract_features(encoder, pictures, 5))


def test_a_changed_encoder_is_refused(tmp_path):
    encoder = check_encoder()
    content = bytearray(encoder.path.read_bytes())
    content[1000] ^= 1
    (tmp_path / "cyto.onnx").write_bytes(content)
    (tmp_path / "cyto.json").write_text(json.dumps(encoder.record))
    with pytest.raises(RequestError, match="SHA-256"):
        check_encoder(tmp_path / "cyto.json")


def test_the_encoder_says_whose_pictures_taught_it():
    record = check_encoder().record
    assert "Acevedo" in record["attribution"]
    assert "CC BY 4.0" in record["attribution"]
    assert record["validation_accuracy"] > 0.85


def gaussians(seed: int, n: int, mean: float = 0.0, scale: float = 1.0):
    return mean + scale * np.random.default_rng(seed).standard_normal((n, 8))


def test_a_good_generator_scores_at_the_floor_and_a_bad_one_above_every_interval():
    real = gaussians(0, 400)
    settings = {"n": 150, "splits": 6}
    good = score(real, gaussians(1, 400, 2.0), gaussians(2, 300), gaussians(3, 300, -2.0), **settings)
    bad = score(real, gaussians(1, 400, 2.0), gaussians(2, 300, 1.0), gaussians(3, 300, -2.0), **settings)
    for distance in ("FD-cyto", "KD-cyto"):
        assert good[distance].fake.mean < 2 * good[distance].floor.high
        assert bad[distance].fake.low > 3 * bad[distance].floor.high
        assert good[distance].clear["blurred reals"]
        assert good[distance].clear["another class"]


def test_a_control_that_looks_like_the_floor_makes_the_figure_insensitive():
    real = gaussians(0, 400)
    found = score(real, real + 1e-6, gaussians(2, 300), None, n=100, splits=6)
    for distance in ("FD-cyto", "KD-cyto"):
        assert found[distance].clear["blurred reals"] is False
        assert found[distance].sensitive is False
        assert "another class" not in found[distance].controls


def test_the_seed_decides_the_splits():
    arguments = (gaussians(0, 60), gaussians(1, 60), gaussians(2, 60), None)
    assert score(*arguments, n=20, seed=1) == score(*arguments, n=20, seed=1) != score(*arguments, n=20, seed=2)


def test_n_is_what_every_figure_can_have():
    assert sample_size(600, 1000, 200, None) == 200
    assert sample_size(301, 1000, None, None) == 150
    for arguments in ((3, 100, None, None), (100, 100, None, 51), (100, 100, 30, 31), (100, 100, None, 1)):
        with pytest.raises(RequestError, match="number of pictures"):
            sample_size(*arguments)


def test_blur_takes_detail_and_keeps_the_mean():
    picture = draw("cyt_mast", 0, 64)[0][None]
    blurred = blur(picture)
    assert blurred.shape == picture.shape
    assert blurred.dtype == np.uint8
    assert abs(blurred.mean() - picture.mean()) < 0.5
    assert (
        np.abs(np.diff(blurred.astype(float), axis=1)).mean()
        < 0.8 * np.abs(np.diff(picture.astype(float), axis=1)).mean()
    )


def test_the_command_prints_one_object(folders, command):
    done = command(
        "evaluate", "score", folders / "real", folders / "fake", "--other", folders / "other", "--splits", 4, "--json"
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["n"] == 8
    assert set(found["figures"]) == {"FD-cyto", "KD-cyto"}
    figures = found["figures"]["FD-cyto"]
    assert set(figures["controls"]) == {"blurred reals", "ten repeated reals", "another class"}
    assert figures["controls"]["another class"]["mean"] > figures["fake"]["mean"]
    assert "warning: N is 8" in done.stderr


def test_the_table_names_floor_controls_and_definitions(folders, command):
    done = command("evaluate", "score", folders / "real", folders / "fake", "--splits", 3)
    assert done.returncode == 0, done.stderr
    for words in ("real against real (floor)", "control: blurred reals", "not measured: give --other", "not FID"):
        assert words in done.stdout


def truncate(folder):
    path = next(folder.iterdir())
    path.write_bytes(path.read_bytes()[:200])


def widen(folder):
    Image.new("RGB", (64, 60)).save(folder / "wide.png")


def empty(folder):
    for path in folder.iterdir():
        path.unlink()


def remove(folder):
    empty(folder)
    folder.rmdir()


@pytest.mark.parametrize("damage", [truncate, widen, empty, remove])
def test_wrong_folders_exit_2(damage, folders, command, tmp_path):
    fake = tmp_path / "fake"
    fake.mkdir()
    for path in (folders / "fake").iterdir():
        (fake / path.name).write_bytes(path.read_bytes())
    damage(fake)
    done = command("evaluate", "score", folders / "real", fake)
    assert done.returncode == 2, done.stderr
    for word in ("found:", "expected:", "mend:", str(fake)):
        assert word in done.stderr


def test_read_folder_resizes(folders):
    assert read_folder(folders / "real", 32).shape == (16, 32, 32, 3)
