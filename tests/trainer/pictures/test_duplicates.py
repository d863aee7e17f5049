"""Pictures that are the same or nearly so."""

from __future__ import annotations

from PIL import Image

from trainer.pictures.phantom import draw


def test_pictures_that_are_held_out_are_refused(in_process, photographs, tmp_path):
    """The same cell is recognised although it is compressed and rotated."""
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
