import json

import numpy as np
import pytest

from engine.bundle.folder import open_bundle
from engine.serve.settings import ServeSettings
from tests.engine.serve.conftest import running
from tests.engine.serve.sdapi.conftest import from_base64, in_base64
from tests.exporter.distilled import table_of


@pytest.fixture
def with_preset(bundle_copy, tmp_path):
    """A server on the tiny bundle, which has a preset with a learned table of three rows."""
    table = table_of(tmp_path / "table.json", open_bundle(str(bundle_copy)).manifest, guidance_scale=2.0)
    path = bundle_copy / "manifest.json"
    presets = {"turbo": {"table": json.loads(table.read_text())["rows"], "precision": "f32"}}
    path.write_text(json.dumps({**json.loads(path.read_text()), "presets": presets}))
    with running(ServeSettings(bundle=[str(bundle_copy)], data=tmp_path / "served")) as server:
        yield server


def test_the_answer_says_what_was_used_and_what_was_not(live):
    body = {"seed": 3, "steps": 2, "tiling": True, "save_images": True, "send_images": False}
    found = live.post("/sdapi/v1/txt2img", body).json()
    assert found["images"] == []
    assert found["warnings"] == json.loads(found["info"])["warnings"]
    assert [one.split()[0] for one in found["warnings"]] == ["tiling", "save_images"]
    assert found["parameters"]["sampler_name"] == "DPM++ 2M"
    assert (found["parameters"]["width"], found["parameters"]["cfg_scale"]) == (32, 2.0)


def test_each_picture_of_a_batch_has_its_own_initial_picture(live, cell):
    dark = cell.point(lambda value: value // 3)
    body = {"init_images": [in_base64(cell), in_base64(dark)], "batch_size": 2, "denoising_strength": 0, "steps": 2}
    found = live.post("/sdapi/v1/img2img", body).json()
    first, second = (from_base64(one).convert("L").resize((1, 1)).getpixel((0, 0)) for one in found["images"])
    assert first > 2 * second
    assert found["parameters"]["init_images"] is None
    again = live.post("/sdapi/v1/img2img", {**body, "include_init_images": True}).json()
    assert again["parameters"]["init_images"] == body["init_images"]


def test_an_override_may_stay_after_the_request(live):
    before = live.api.get_options()["sd_model_checkpoint"]
    override = {"override_settings": {"sd_model_checkpoint": "cyt_nep_mast"}, "steps": 2}
    assert "cyt_nep_mast" in live.post("/sdapi/v1/txt2img", override).json()["info"]
    assert live.api.get_options()["sd_model_checkpoint"] == before
    live.post("/sdapi/v1/txt2img", {**override, "override_settings_restore_afterwards": False})
    assert "cyt_nep_mast" in live.api.get_options()["sd_model_checkpoint"]
    live.api.set_options({"sd_model_checkpoint": before})


def test_a_preset_of_a_request_draws_its_table_and_excludes_what_would_change_it(with_preset):
    preset = {"override_settings": {"cytosynth_preset": "turbo"}}
    found = with_preset.post("/sdapi/v1/txt2img", {**preset, "seed": 3}).json()
    assert found["warnings"] == []
    assert (found["parameters"]["steps"], found["parameters"]["sampler_name"]) == (3, "Learned")
    infotext = json.loads(found["info"])["infotexts"][0]
    assert "Steps: 3, Sampler: Learned" in infotext
    again = with_preset.post("/sdapi/v1/txt2img", {"infotext": infotext}).json()
    # The infotext states the prompt, which the text encoder then reads, so that last digits differ.
    assert np.allclose(*(np.asarray(from_base64(one["images"][0]), int) for one in (again, found)), atol=1)
    assert json.loads(from_base64(found["images"][0]).text["cytosynth"])["preset"] == "turbo"
    for wrong, words in (
        ({**preset, "steps": 4}, "steps, too"),
        ({**preset, "cfg_scale": 7}, "cfg_scale, too"),
        ({**preset, "sampler_name": "Euler"}, "sampler_name, too"),
        ({"override_settings": {"cytosynth_preset": "swift"}}, "one of turbo, the presets of the bundle"),
    ):
        refused = with_preset.post("/sdapi/v1/txt2img", wrong)
        assert refused.status_code == 422
        assert words in refused.json()["detail"]
        assert "override_settings.cytosynth_preset" in refused.json()["detail"]
