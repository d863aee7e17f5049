import json


def test_the_answer_says_what_was_used_and_what_was_not(live):
    body = {"seed": 3, "steps": 2, "tiling": True, "save_images": True, "send_images": False}
    found = live.post("/sdapi/v1/txt2img", body).json()
    assert found["images"] == []
    assert found["warnings"] == json.loads(found["info"])["warnings"]
    assert [one.split()[0] for one in found["warnings"]] == ["tiling", "save_images"]
    assert found["parameters"]["sampler_name"] == "DPM++ 2M"
    assert (found["parameters"]["width"], found["parameters"]["cfg_scale"]) == (32, 2.0)


def test_each_picture_of_a_batch_has_its_own_initial_picture(live, cell):
    from tests.engine.serve.sdapi.conftest import from_base64, in_base64

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
