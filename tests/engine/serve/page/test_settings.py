import json

import pytest

pytestmark = pytest.mark.slow


def test_the_options_of_the_server_are_changed_on_the_page(wide, site):
    seen = wide()
    seen.open("Settings")
    seen.see("settings-status", "as they are now")
    seen.page.locator("#settings-cytosynth_steps input").fill("3")
    seen.page.locator("#settings-save").click()
    seen.see("settings-status", "Saved.")
    assert json.loads((site.data / "options.json").read_text())["cytosynth_steps"] == 3
    seen.open("Generate")
    seen.page.locator("#generate-draw").click()
    seen.see("generate-status", "4 synthetic pictures")
    seen.gallery("generate-gallery").first.click()
    seen.page.wait_for_function("document.querySelector('#generate-info textarea').value.includes('Steps: 3,')")
    seen.open("Settings")
    seen.see("settings-status", "as they are now")
    seen.page.locator("#settings-cytosynth_steps input").fill("0")
    seen.page.locator("#settings-save").click()
    seen.see("settings-status", "Saved.")
    assert seen.wrong == []
    seen.page.close()
