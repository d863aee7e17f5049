"""The tab Evaluate."""

from __future__ import annotations

import pytest

from engine.serve.page.evaluate import figures_of


@pytest.mark.soak
def test_synthetic_pictures_are_scored_and_reported(wide, whole_path, cell, tmp_path):
    visit = wide()
    real = sorted((whole_path / "prepared/cyt_mast").glob("*.png"))[:24]
    visit.open("Evaluate")
    visit.drop("evaluate-real", *real)
    # Long names are shown cut, so the rows are counted.
    visit.page.locator("#evaluate-real tr.file").nth(len(real) - 1).wait_for()
    visit.page.locator("#evaluate-start").click()
    visit.page.set_default_timeout(120_000)
    visit.see("evaluate-status", "Scored")
    assert "cyto" in visit.page.locator("#evaluate-figures").inner_text()
    with visit.page.expect_download() as caught:
        visit.page.locator("#evaluate-report").click()
    caught.value.save_as(tmp_path / "report.html")
    assert "<html" in (tmp_path / "report.html").read_text().lower()
    visit.page.close()


def test_the_figures_hold_nothing_of_the_terminal_and_their_table_is_left_as_it_is():
    table = " FD-cyto      2.16         13    " + 40 * "-"
    printed = f"imagenet features of synthetic, 48/64\n{table}\n\n{30 * 'word '}\n--explain adds more\nRecord: record\n"
    found = figures_of(printed).split("\n")
    assert found[:2] == [table, ""]
    assert max(map(len, found[2:])) <= 88
    assert " ".join(found[2:]).split() == ["word"] * 30
