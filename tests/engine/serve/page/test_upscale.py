"""The tab Upscale."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow


def test_a_picture_is_enlarged_and_keeps_its_mark(wide, cell):
    visit = wide()
    visit.open("Upscale")
    visit.drop("upscale-file", cell)
    visit.page.get_by_text("cell.png").wait_for()
    visit.page.locator("#upscale-start").click()
    visit.see("upscale-status", "1 of 1 pictures enlarged")
    assert "synthetic, enlarged" in visit.page.locator("#upscale-gallery").inner_text()
    assert visit.wrong == []
    visit.page.close()
