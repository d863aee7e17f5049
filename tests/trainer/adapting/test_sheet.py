"""The sheet of real and synthetic pictures."""

from __future__ import annotations

from PIL import Image

from trainer.adapting.sheet import CAPTION, GAP, SHOWN, draw_comparison


def test_real_pictures_stand_above_the_synthetic_ones_of_their_class(tmp_path):
    for folder, grey in (("real", 50), ("synthetic", 200)):
        (tmp_path / folder / "cyst").mkdir(parents=True)
        for number in range(SHOWN + 2):
            Image.new("RGB", (16, 16), (grey,) * 3).save(tmp_path / folder / f"cyst/{number:02}_0.png")
            if folder == "real":
                Image.new("RGB", (16, 16), "red").save(tmp_path / folder / f"cyst/{number:02}_1.png")
    draw_comparison(tmp_path / "real", tmp_path / "synthetic", ["cyst"], tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (SHOWN * (16 + GAP) + GAP, 2 * (16 + GAP + CAPTION) + GAP)
        for column in range(SHOWN):
            left = GAP + column * (16 + GAP) + 8
            assert sheet.getpixel((left, CAPTION + 8)) == (50, 50, 50)
            assert sheet.getpixel((left, 16 + GAP + 2 * CAPTION + 8)) == (200, 200, 200)
