"""The tab Train."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from engine.serve.page.train import curve


def test_the_curve_goes_down_if_the_loss_does():
    drawn = ET.fromstring(curve([(20, 1.0), (40, 0.5), (60, 0.25)]))  # noqa: S314 - drawn above
    line = next(one for one in drawn.iter() if one.tag.endswith("polyline"))
    heights = [float(point.split(",")[1]) for point in line.get("points").split()]
    assert heights == sorted(heights)
    assert "loss 0.2500" in "".join(drawn.itertext())


def test_a_curve_needs_two_values_and_survives_equal_ones():
    assert curve([(20, 1.0)]) == ""
    assert "polyline" in curve([(20, 1.0), (40, 1.0)])


@pytest.mark.soak
def test_twelve_phantoms_become_a_class_that_can_be_drawn(wide, whole_path):
    visit = wide()
    phantoms = sorted((whole_path / "phantom/pictures/cyt_mast").glob("*.png"))[:12]
    assert len(phantoms) == 12
    visit.open("Train")
    visit.drop("train-file", *phantoms)
    visit.see("train-file", phantoms[-1].stem[-4:])
    visit.page.locator("#train-name textarea, #train-name input").first.fill("new_mast")
    visit.page.locator("#train-licence textarea, #train-licence input").first.fill("CC0")
    visit.page.locator("#train-start").click()
    visit.page.set_default_timeout(300_000)
    visit.see("train-status", "new_mast is trained")
    assert visit.page.locator("#train-loss svg").count() == 1
    assert visit.gallery("train-previews").count() > 0
    visit.open("Generate")
    visit.page.get_by_label("Class").first.click()
    visit.page.get_by_role("option", name="new_mast").click()
    visit.page.locator("#generate-draw").click()
    visit.see("generate-status", "4 synthetic pictures")
    assert visit.wrong == []
    visit.page.close()
