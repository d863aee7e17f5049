"""The tab Generate: draw, look, take a seed, download, and errors in the engine's words."""

from __future__ import annotations

import tarfile
import zipfile

import pytest

from engine.output.picture_texts import read_texts

pytestmark = pytest.mark.slow


def test_drawing_shows_a_gallery_whose_pictures_state_how_they_were_made(visit):
    page = visit.page
    page.get_by_label("Seed").first.fill("7")
    page.locator("#generate-draw").click()
    visit.see("generate-status", "4 synthetic pictures")
    assert visit.gallery("generate-gallery").count() == 4
    visit.gallery("generate-gallery").nth(2).click()
    page.wait_for_function("document.querySelector('#generate-info textarea').value.includes('Seed: 9')")
    assert "synthetic, seed 9" in page.locator("#generate-gallery").inner_text()
    page.locator("#generate-use-seed").click()
    page.wait_for_function("[...document.querySelectorAll('input[type=number]')].some(one => one.value === '9')")


def test_the_downloads_hold_the_pictures_with_their_texts(wide, tmp_path):
    visit = wide()
    visit.page.locator("#generate-draw").click()
    visit.see("generate-status", "4 synthetic pictures")
    for name in ("zip", "webdataset"):
        button = visit.page.locator(f"#generate-{name}")
        button.and_(visit.page.locator(":enabled")).wait_for()
        with visit.page.expect_download() as caught:
            button.click()
        caught.value.save_as(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "zip") as packed:
        pictures = [one for one in packed.namelist() if one.endswith(".png")]
        assert len(pictures) == 4
        packed.extract(pictures[0], tmp_path)
    assert '"synthetic": true' in read_texts(tmp_path / pictures[0]).chunks["cytosynth"]
    with tarfile.open(tmp_path / "webdataset") as shard:
        assert len([name for name in shard.getnames() if name.endswith(".cls")]) == 4
    visit.page.close()


def test_a_wrong_setting_shows_the_error_of_the_engine(wide):
    visit = wide()
    visit.page.locator("button.label-wrap", has_text="Settings").first.click()
    visit.page.get_by_label("Steps").first.fill("0")
    visit.page.locator("#generate-draw").click()
    visit.page.get_by_text("--steps").wait_for()
    assert visit.wrong == []
    visit.page.close()
