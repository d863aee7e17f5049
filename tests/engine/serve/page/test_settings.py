import json


def test_the_options_of_the_server_are_changed_on_the_page(wide, site):
    seen = wide()
    seen.open("Settings")
    seen.page.locator("#settings-cytosynth_steps input").fill("3")
    seen.page.locator("#settings-save").click()
    seen.see("settings-status", "Saved.")
    assert json.loads((site.data / "options.json").read_text())["cytosynth_steps"] == 3
    seen.open("Generate")
    seen.page.locator("#generate-draw").click()
    seen.see("generate-status", "4 synthetic pictures")
    seen.gallery("generate-gallery").first.click()
    assert "Steps: 3," in seen.page.locator("#generate-info textarea").input_value()
    seen.open("Settings")
    seen.page.locator("#settings-cytosynth_steps input").fill("0")
    seen.page.locator("#settings-save").click()
    seen.see("settings-status", "Saved.")
    assert seen.wrong == []
    seen.page.close()
