"""Folders of pictures: what is read, and what is refused with every wrong file counted and named."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from engine.errors import RequestError
from evaluate.images import blur, open_different, open_folder
from trainer.pictures.phantom import draw


@pytest.fixture
def folder(phantoms, tmp_path):
    """A copy of a folder, which a test can change."""
    return shutil.copytree(phantoms / "synthetic" / "cyt_mast", tmp_path / "cyt_mast")


def test_a_folder_is_read_in_order_at_any_size(folder):
    found = open_folder(folder)
    assert (len(found), found.side) == (12, 64)
    assert [len(batch) for batch in found.batches(batch_size=5)] == [5, 5, 2]
    np.testing.assert_array_equal(found.read()[3], np.asarray(Image.open(found.files[3])))
    np.testing.assert_array_equal(found.pick([3])[0], found.read()[3])
    assert found.read(32).shape == (12, 32, 32, 3)


def test_hidden_and_system_files_are_left_out(folder):
    for name in ("._0100.png", ".hidden.png", ".DS_Store", "Thumbs.db", "desktop.ini", "0100.caption"):
        (folder / name).write_bytes(b"\0\5\26\7")
    assert len(open_folder(folder)) == 12


def test_the_hash_covers_names_and_contents(folder, phantoms):
    first = open_folder(folder)
    assert first.sha256 == open_folder(phantoms / "synthetic" / "cyt_mast").sha256
    first.files[0].rename(folder / "zzz.png")
    assert open_folder(folder).sha256 != first.sha256


def truncate(folder):
    for path in sorted(folder.iterdir())[:7]:
        path.write_bytes(path.read_bytes()[:200])
    return ["7 of the files", "contains 12 pictures", "0100.png", "and 2 more"]


def grey(folder):
    Image.open(folder / "0100.png").convert("L").save(folder / "0100.png")
    return ["1 of the files", "0100.png: L pixels"]


def transparent(folder):
    picture = Image.open(folder / "0100.png").convert("RGBA")
    picture.putpixel((0, 0), (1, 2, 3, 4))
    picture.save(folder / "0100.png")
    return ["0100.png: RGBA with transparency"]


def grey_in_colour(folder):
    Image.open(folder / "0100.png").convert("L").convert("RGB").save(folder / "0100.png")
    return ["0100.png: grey, its three channels equal"]


def for_print(folder):
    Image.open(folder / "0100.png").convert("CMYK").save(folder / "0100.jpg")
    return ["0100.jpg: CMYK pixels"]


def other_format(folder):
    Image.open(folder / "0100.png").save(folder / "more.gif")
    return ["1 of the files", "more.gif: not .bmp"]


def mixed(folder):
    Image.open(folder / "0100.png").resize((32, 32)).save(folder / "other.png")
    return ["2 sizes: 12 of 64 x 64, for example 0100.png; 1 of 32 x 32, for example other.png"]


def oblong(folder):
    for path in folder.iterdir():
        Image.open(path).resize((64, 60)).save(path)
    return ["64 x 60 pixels", "squares"]


def empty(folder):
    for path in folder.iterdir():
        path.unlink()
    return ["no picture directly inside"]


def remove(folder):
    shutil.rmtree(folder)
    return ["no such folder"]


@pytest.mark.parametrize(
    "damage", [truncate, grey, grey_in_colour, for_print, other_format, transparent, mixed, oblong, empty, remove]
)
def test_wrong_folders_are_refused_with_what_is_wrong(damage, folder):
    words = damage(folder)
    with pytest.raises(RequestError) as refused:
        open_folder(folder)
    for word in (*words, str(folder)):
        assert word in str(refused.value)


def test_opaque_alpha_and_palettes_are_colour(folder):
    Image.open(folder / "0100.png").convert("RGBA").save(folder / "0100.png")
    Image.open(folder / "0101.png").convert("P").save(folder / "0101.png")
    assert len(open_folder(folder)) == 12


def test_folders_that_share_a_picture_are_refused_under_any_name(folder, tmp_path, phantoms):
    other = shutil.copytree(phantoms / "real" / "cyt_kist_mast", tmp_path / "other")
    assert set(open_different({"REAL": folder, "FAKE": other})) == {"REAL", "FAKE"}
    shutil.copy(folder / "0103.png", other / "renamed.png")
    copy = shutil.copytree(folder, tmp_path / "copy")
    for second, count in ((copy, 12), (other, 1)):
        with pytest.raises(RequestError, match=f"{count} pictures in more than one of FAKE, REAL"):
            open_different({"REAL": folder, "FAKE": second})
    with pytest.raises(RequestError, match=r"REAL and FAKE\n.*one folder"):
        open_different({"REAL": folder, "FAKE": folder / "." / ".." / folder.name})


def test_for_the_folder_of_a_run_the_error_names_its_class_folder(folder, tmp_path):
    (tmp_path / "metadata.jsonl").write_text("")
    shutil.copy(folder / "0100.png", tmp_path / "sheet.png")
    with pytest.raises(RequestError, match=f"fix: +name {folder}"):
        open_folder(tmp_path)


def test_augmented_copies_share_a_source(folder, tmp_path):
    assert len(set(open_folder(folder).sources)) == 12
    rows = [{"file_name": f"cyt_mast/{100 + i:04d}.png", "source": f"{i // 4}.jpg"} for i in range(12)]
    (tmp_path / "sources.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert open_folder(folder).sources == tuple(f"{i // 4}.jpg" for i in range(12))
    (tmp_path / "sources.jsonl").write_text("{}")
    with pytest.raises(RequestError, match="file_name"):
        _ = open_folder(folder).sources


def test_files_of_one_content_are_one_source(folder):
    shutil.copy(folder / "0100.png", folder / "again.png")
    sources = open_folder(folder).sources
    assert len(sources) == 13
    assert len(set(sources)) == 12


def test_blur_takes_detail_and_keeps_the_mean():
    picture = draw("cyt_mast", 0, 64)[0][None]
    blurred = blur(picture)
    assert blurred.shape == picture.shape
    assert blurred.dtype == np.uint8
    assert abs(blurred.mean() - picture.mean()) < 0.5

    def detail(pictures):
        return np.abs(np.diff(pictures.astype(float), axis=1)).mean()

    assert detail(blurred) < 0.8 * detail(picture)


@pytest.mark.slow
def test_a_folder_knows_the_initial_pictures_of_its_variations(varied):
    found = open_folder(varied / "variations" / "0.3" / "cyt_mast")
    real = open_folder(varied / "real" / "cyt_mast")
    assert [found.initials[file.name].sha256 for file in found.files] == 2 * list(real.hashes)
    assert found.initials["000001.png"].name == "0001.png"
    assert (found.marked, real.initials) == (12, {})


def test_a_text_without_an_initial_picture_names_none(folder):
    for name, text in (("0100.png", "no JSON"), ("0101.png", "[]"), ("0102.png", '{"synthetic": true}')):
        info = PngInfo()
        info.add_itxt("cytosynth", text)
        Image.open(folder / name).save(folder / name, pnginfo=info)
    found = open_folder(folder)
    assert (found.marked, found.initials) == (3, {})


@pytest.mark.parametrize(
    ("command", "arguments", "name"),
    [
        ("score", ("heldout/cyt_mast", "of_heldout/cyt_mast"), "REAL"),
        ("probe", ("heldout", "of_heldout"), "REAL cyt_mast"),
        ("blind", ("heldout", "of_heldout", "--out", "page.html"), "REAL cyt_mast"),
        ("morphology", ("heldout/cyt_mast", "of_heldout/cyt_mast"), "REAL"),
        ("judge", ("of_heldout", "--train", "real", "--held-out", "heldout"), "--held-out"),
        ("judge", ("of_heldout", "--train", "heldout", "--held-out", "real"), "--train"),
        ("utility", ("--real", "real", "--synthetic", "of_heldout", "--held-out", "heldout"), "heldout"),
        ("copies", ("of_heldout/cyt_mast", "--train", "real/cyt_mast", "--held-out", "heldout/cyt_mast"), "--held-out"),
    ],
)
def test_pictures_are_not_compared_with_the_pictures_that_they_were_derived_from(
    command, arguments, name, varied, in_process, tmp_path
):
    words = [tmp_path / word if "." in word else varied / word if "--" not in word else word for word in arguments]
    done = in_process("evaluate", command, *words)
    assert done.returncode == 2, done.stderr
    assert f"synthetic pictures that were derived from pictures in {name}" in done.stderr
    assert "000000.png is derived from" in done.stderr
    for part in ("expected:", "fix:", "heldout/cyt_mast/0000.png"):
        assert part in done.stderr
    assert not (tmp_path / "page.html").exists()
