"""`prepare`: squares of one size, augmented to a number, with a record of their sources."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from trainer.pictures.augment import augment
from trainer.pictures.phantom import MASK_LABELS, draw
from trainer.pictures.rudi import rudi


@pytest.fixture
def photographs(tmp_path):
    """Two classes of phantom pictures, not square."""
    folder = tmp_path / "photographs"
    for name, count in (("cyt_mast", 3), ("cyt_nep_mast", 2)):
        (folder / name).mkdir(parents=True)
        for seed in range(count):
            wide = np.pad(draw(name, seed, 64)[0], ((0, 0), (9, 7), (0, 0)), mode="edge")
            Image.fromarray(wide).save(folder / name / f"picture{seed}.png")
    return folder


def test_counts_sizes_and_sources(command, photographs, tmp_path):
    out = tmp_path / "out"
    done = command("trainer", "prepare", photographs, out, "--size", 32, "--n", 8)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (out / "sources.jsonl").read_text().splitlines()]
    assert len(rows) == 16
    assert {row["file_name"] for row in rows} == {str(path.relative_to(out)) for path in out.glob("*/*.png")}
    assert {row["source"] for row in rows if row["class"] == "cyt_mast"} == {f"picture{i}.png" for i in range(3)}
    for row in rows:
        with Image.open(out / row["file_name"]) as picture:
            assert picture.size == (32, 32)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(command, photographs, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        arguments = [photographs / "cyt_mast", tmp_path / name, "--size", 32, "--n", 7, "--seed", seed]
        assert command("trainer", "prepare", *arguments).returncode == 0
    contents = {name: [p.read_bytes() for p in sorted((tmp_path / name).glob("*/*.png"))] for name in "abc"}
    assert contents["a"] == contents["b"] != contents["c"]


def stained_pixels(picture):
    """Pixels on the dark side of halfway between the darkest and the lightest, whatever the stain's strength."""
    grey = picture.mean(-1)
    return (grey < (grey.min() + grey.max()) / 2).sum()


def test_augmentation_keeps_the_area_of_what_is_stained():
    """A disc well inside the picture stays as large as it was, to 5 %."""
    y, x = np.mgrid[0:128, 0:128]
    disc = gaussian_filter(np.where(np.hypot(x - 60, y - 70) < 24, 60.0, 230.0), 1.0)
    picture = np.repeat(disc[..., None], 3, -1).astype(np.uint8)
    for seed in range(12):
        changed = augment(picture, np.random.default_rng(seed))
        assert abs(stained_pixels(changed) / stained_pixels(picture) - 1) < 0.05
        assert (changed != picture).any()


def broken_picture(folder):
    whole = (folder / "cyt_mast/picture0.png").read_bytes()
    (folder / "cyt_mast/picture0.png").write_bytes(whole[: len(whole) // 2])


def foreign_file(folder):
    (folder / "cyt_mast/picture1.png").write_text("no picture")


def no_picture(folder):
    for path in folder.glob("*/*"):
        path.unlink()


@pytest.mark.parametrize("damage", [broken_picture, foreign_file, no_picture])
def test_unreadable_folders_exit_2_and_write_nothing(damage, command, photographs, tmp_path):
    damage(photographs)
    done = command("trainer", "prepare", photographs, tmp_path / "out", "--size", 32)
    assert done.returncode == 2, done.stderr
    for word in ("found:", "expected:", "fix:", str(photographs)):
        assert word in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("extra", [["--size", "33"], ["--n", "0"], ["--crop", "1.5"]])
def test_wrong_numbers_exit_2(extra, command, photographs, tmp_path):
    done = command("trainer", "prepare", photographs, tmp_path / "out", *extra)
    assert done.returncode == 2
    assert extra[0] in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_is_left_alone(command, photographs, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    assert command("trainer", "prepare", photographs, tmp_path / "out").returncode == 2
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_pictures_that_differ_only_in_their_suffix_are_both_kept(command, photographs, tmp_path):
    with Image.open(photographs / "cyt_mast/picture0.png") as picture:
        picture.save(photographs / "cyt_mast/picture0.jpg")
    assert command("trainer", "prepare", photographs / "cyt_mast", tmp_path / "out", "--size", 32).returncode == 0
    assert len(list((tmp_path / "out/cyt_mast").iterdir())) == 4


def empty_class(folder):
    (folder / "cyt_empty").mkdir()


def loose_picture(folder):
    (folder / "cyt_mast/picture0.png").rename(folder / "picture0.png")


def strange_name(folder):
    (folder / "cyt_mast").rename(folder / "my cells")


def deep_greyscale(folder):
    Image.fromarray(np.full((64, 64), 40_000, np.uint16)).save(folder / "cyt_mast/deep.png")


@pytest.mark.parametrize("damage", [empty_class, loose_picture, strange_name, deep_greyscale])
def test_what_would_be_dropped_or_distorted_is_refused(damage, command, photographs, tmp_path):
    damage(photographs)
    done = command("trainer", "prepare", photographs, tmp_path / "out", "--size", 32)
    assert done.returncode == 2, done.stderr
    assert "fix:" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_picture_is_turned_as_its_camera_says(command, tmp_path):
    (tmp_path / "in/c").mkdir(parents=True)
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[:32] = 255
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(pixels).save(tmp_path / "in/c/a.png", exif=exif)
    assert command("trainer", "prepare", tmp_path / "in", tmp_path / "out", "--size", 32).returncode == 0
    with Image.open(tmp_path / "out/c/a_png_0.png") as picture:
        turned = np.asarray(picture)
    assert turned[:8].max() < 10 < 245 < turned[-8:].min()


@pytest.mark.parametrize("name", ["cyt_mast", "cyt_nep_fib_mast"])
def test_preserve_keeps_the_nucleus_area_of_phantoms(name):
    """The mask goes along as the fourth channel, so it is the geometry alone that is measured."""
    ratios = []
    for seed in range(6):
        picture, mask = draw(name, seed, 128)
        inner = np.zeros((128, 128), bool)
        inner[32:96, 32:96] = True
        nucleus = gaussian_filter(np.where((mask == MASK_LABELS["nucleus"]) & inner, 255.0, 0.0), 0.5)
        four = np.concatenate([picture, np.uint8(nucleus)[..., None]], axis=-1)
        for variant in range(4):
            changed = augment(four, np.random.default_rng([seed, variant]))
            ratios.append(changed[..., 3].astype(float).sum() / nucleus.astype(np.uint8).sum())
    assert len(ratios) == 24
    assert max(abs(np.array(ratios) - 1)) < 0.05


def test_rudi_does_not_keep_it_as_the_thesis_s_did_not():
    """The facts of the tool: the median area grows 1.4 times, the 95th percentile 2.3 times."""
    y, x = np.mgrid[0:128, 0:128]
    disc = gaussian_filter(np.where(np.hypot(x - 64, y - 64) < 20, 60.0, 230.0), 1.0)
    picture = np.repeat(disc[..., None], 3, -1).astype(np.uint8)
    ratios = [
        stained_pixels(rudi(picture, np.random.default_rng(seed))) / stained_pixels(picture) for seed in range(300)
    ]
    assert 1.2 < np.median(ratios) < 1.6
    assert 1.9 < np.quantile(ratios, 0.95) < 2.7


def test_rudi_is_seeded_and_acts_three_times_in_four():
    picture = draw("cyt_mast", 0, 64)[0]
    one, two, three = (rudi(picture, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert (one != three).any()
    untouched = sum((rudi(picture, np.random.default_rng(seed)) == picture).all() for seed in range(600)) / 600
    # None of three operations acts: 0.25^3.
    assert 0.004 < untouched < 0.035
    jpeg = rudi(picture, np.random.default_rng(1), from_jpeg=True)
    assert jpeg.shape == picture.shape
    assert (jpeg != one).any()


def test_rudi_from_the_command_line(in_process, photographs, tmp_path):
    done = in_process("trainer", "prepare", photographs, tmp_path / "out", "--size", 32, "--n", 6, "--mode", "rudi")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "out/sources.jsonl").read_text().splitlines()]
    assert {row["mode"] for row in rows if row["variant"]} == {"rudi"}
    assert {row["mode"] for row in rows if not row["variant"]} == {"original"}


def test_pictures_that_are_held_out_are_refused(in_process, photographs, tmp_path):
    """The same cell, compressed and turned."""
    (tmp_path / "held").mkdir()
    with Image.open(photographs / "cyt_mast/picture1.png") as picture:
        picture.rotate(90, expand=True).save(tmp_path / "held/other.jpg", quality=60)
    arguments = ["prepare", photographs, tmp_path / "out", "--size", 32]
    done = in_process("trainer", *arguments, "--held-out", tmp_path / "held")
    assert done.returncode == 2
    assert "picture1.png" in done.stderr
    assert "other.jpg" in done.stderr
    assert not (tmp_path / "out").exists()
    for path in (tmp_path / "held").iterdir():
        path.unlink()
    Image.fromarray(draw("cyt_mast", 77, 64)[0]).save(tmp_path / "held/other.png")
    assert in_process("trainer", *arguments, "--held-out", tmp_path / "held").returncode == 0


def test_pictures_that_are_alike_are_named(in_process, photographs, tmp_path):
    whole = photographs / "cyt_mast/picture0.png"
    (photographs / "cyt_nep_mast/copy.png").write_bytes(whole.read_bytes())
    with Image.open(whole) as picture:
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(photographs / "cyt_mast/mirrored.jpg", quality=70)
    done = in_process("trainer", "prepare", photographs, tmp_path / "out", "--size", 32)
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if "warning" in line]
    assert len(lines) == 3
    assert sum("are the same" in line for line in lines) == 1
    assert sum("nearly the same" in line for line in lines) == 2


def test_no_resize_keeps_the_pixels(in_process, photographs, tmp_path):
    done = in_process("trainer", "prepare", photographs, tmp_path / "out", "--no-resize")
    assert done.returncode == 0, done.stderr
    with (
        Image.open(photographs / "cyt_mast/picture0.png") as wide,
        Image.open(tmp_path / "out/cyt_mast/picture0_png_0.png") as square,
    ):
        assert wide.size == (80, 64)
        np.testing.assert_array_equal(np.asarray(square), np.asarray(wide)[:, 8:72])


def test_transparency_and_captions_go_along(in_process, tmp_path):
    (tmp_path / "in").mkdir()
    pixels = np.concatenate([draw("cyt_mast", 0, 64)[0], np.zeros((64, 64, 1), np.uint8)], axis=-1)
    pixels[16:48, 16:48, 3] = 255
    Image.fromarray(pixels).save(tmp_path / "in/a.png")
    (tmp_path / "in/a.txt").write_text("round, dark")
    done = in_process("trainer", "prepare", tmp_path / "in", tmp_path / "out", "--size", 32, "--n", 3)
    assert done.returncode == 0, done.stderr
    for k in range(3):
        with Image.open(tmp_path / f"out/in/a_png_{k}.png") as picture:
            assert picture.mode == "RGBA"
            assert np.asarray(picture)[..., 3].mean() == pytest.approx(64, rel=0.1)
        assert (tmp_path / f"out/in/a_png_{k}.txt").read_text() == "round, dark"


def test_classes_that_may_not_be_mirrored_are_not():
    """A picture whose left and right differ keeps its handedness under rotation."""
    y, x = np.mgrid[0:64, 0:64] - 31.5
    hand = (np.hypot(x, y) < 24) * (120 + 80 * np.cos(np.arctan2(y, x)) + 40 * np.cos(2 * np.arctan2(y, x) + 1))
    picture = np.repeat(hand[..., None], 3, -1).astype(np.uint8)

    def handedness(image):
        grey = image[..., :3].mean(-1)
        one, two = ((grey * np.exp(1j * k * np.arctan2(y, x))).sum() for k in (1, 2))
        return np.sign(np.imag(two * np.conj(one) ** 2))

    kept = {handedness(augment(picture, np.random.default_rng(seed), flip=False)) for seed in range(20)}
    assert kept == {handedness(picture)}
    assert len({handedness(augment(picture, np.random.default_rng(seed))) for seed in range(20)}) == 2
