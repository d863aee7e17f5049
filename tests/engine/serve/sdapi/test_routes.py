"""The package webuiapi, which others wrote, as a client of the whole API."""

import json
import threading
import time

import numpy as np
import pytest
import webuiapi

from tests.engine.serve.sdapi.clients import IMG2IMG, TXT2IMG
from tests.engine.serve.sdapi.conftest import from_base64, in_base64

SMALL = {"width": 32, "height": 32, "steps": 2}


def test_txt2img(live):
    found = live.api.txt2img(prompt="cyt mast", seed=3, batch_size=2, n_iter=2, sampler_name="Euler", **SMALL)
    assert [one.size for one in found.images] == [(32, 32)] * 4
    assert found.info["all_seeds"] == [3, 4, 5, 6]
    assert found.info["infotexts"] == [one.info["parameters"] for one in found.images]
    assert "Sampler: Euler, Schedule type: Normal, CFG scale: 7, Seed: 3" in found.info["infotexts"][0]
    again = live.api.txt2img(prompt="cyt mast", seed=3, batch_size=2, sampler_name="Euler", **SMALL)
    assert np.array_equal(np.asarray(again.image), np.asarray(found.image))


def test_a_variation_seed_varies_one_seed(live):
    plain = live.api.txt2img(seed=3, n_iter=2, **SMALL)
    found = live.api.txt2img(
        seed=3, n_iter=2, subseed=40, subseed_strength=0.2, seed_resize_from_w=16, seed_resize_from_h=16, **SMALL
    )
    assert (found.info["all_seeds"], found.info["all_subseeds"]) == ([3, 3], [40, 41])
    assert (found.info["subseed_strength"], found.info["warnings"]) == (0.2, [])
    assert "Variation seed: 41, Variation seed strength: 0.2, " in found.info["infotexts"][1]
    images = [np.asarray(one) for one in (*found.images, *plain.images)]
    assert not any(np.array_equal(images[i], images[k]) for i, k in ((0, 1), (0, 2), (1, 3)))
    again = live.post("/sdapi/v1/txt2img", {"infotext": found.info["infotexts"][1]}).json()
    assert json.loads(again["info"])["infotexts"] == [found.info["infotexts"][1]]
    drawn = np.asarray(from_base64(again["images"][0])).astype(int)
    # The bundle stores the embeddings of the prompt of the class; here the text encoder computes them, and in bfloat16
    # where the processor has it.
    assert np.abs(drawn - images[1]).max() <= 8


def test_img2img_and_inpainting(live, cell, cell_mask):
    varied = live.api.img2img(images=[cell], denoising_strength=0.5, **SMALL)
    assert varied.image.size == (32, 32)
    assert varied.info["denoising_strength"] == 0.5
    assert varied.parameters["init_images"] is None
    repainted = live.api.img2img(
        images=[cell], mask_image=cell_mask, inpainting_fill=1, denoising_strength=0.9, inpaint_full_res=False, **SMALL
    )
    kept = np.asarray(cell_mask) == 0
    assert np.array_equal(np.asarray(repainted.image)[kept], np.asarray(cell)[kept])
    assert not np.array_equal(np.asarray(repainted.image), np.asarray(cell))


def test_hires_fix(live):
    found = live.api.txt2img(enable_hr=True, hr_scale=2, hr_upscaler=webuiapi.HiResUpscaler.Latent, **SMALL)
    assert found.image.size == (64, 64)
    assert "Hires upscaler: Latent" in found.info["infotexts"][0]


def test_options_and_lists(live):
    api, before = live.api, live.api.get_options()
    titles = api.util_get_model_names()
    assert before["sd_model_checkpoint"] in titles
    assert len(titles) == 2
    other = next(title for title in titles if "cyt_nep_mast" in title)
    # open-webui posts the whole object with one value changed.
    api.set_options({**before, "sd_model_checkpoint": other})
    assert api.util_get_current_model() == other
    assert live.api.txt2img(**SMALL).info["sd_model_name"].endswith("cyt_nep_mast")
    api.set_options({"sd_model_checkpoint": before["sd_model_checkpoint"]})
    assert api.get_options() == before
    assert {"DPM++ 2M", "Euler a", "DDIM"} <= {one["name"] for one in api.get_samplers()}
    assert [one["name"] for one in api.get_upscalers()] == ["None", "Lanczos", "Nearest"]
    assert len(api.get_hypernetworks()) == 2
    assert live.get("/sdapi/v1/schedulers").json()[0]["name"] == "automatic"


def test_png_info_and_upscaling(live):
    made = live.api.txt2img(seed=9, **SMALL).image
    assert live.api.png_info(made).info == made.info["parameters"]
    large = live.api.extra_single_image(made, upscaler_1="Lanczos", upscaling_resize=2).image
    assert large.size == (64, 64)
    assert json.loads(large.info["cytosynth"])["upscaled"] == 2
    both = live.api.extra_batch_images([made, made], upscaler_1="Nearest", upscaling_resize=3)
    assert [one.size for one in both.images] == [(96, 96)] * 2


def test_progress_and_interrupt(live):
    idle = live.api.get_progress()
    assert (idle["progress"], idle["state"]["job_count"]) == (0, 0)
    found = []
    body = {**SMALL, "steps": 200, "n_iter": 20, "force_task_id": "task(mine)"}
    request = threading.Thread(target=lambda: found.append(live.post("/sdapi/v1/txt2img", body)))
    request.start()
    while not (now := live.api.get_progress())["state"]["job_no"]:
        time.sleep(0.02)
    assert 0 < now["progress"] < 1
    assert now["state"]["job_count"] == 20
    assert live.post("/internal/progress", {"id_task": "task(mine)"}).json()["active"]
    assert live.api.interrupt() == {}
    request.join()
    info = json.loads(found[0].json()["info"])
    assert found[0].status_code == 200
    images = found[0].json()["images"]
    assert 2 <= len(images) < 20
    assert f"interrupted: {len(images) - 1} of 20 pictures were finished, 1 are half-drawn" in info["warnings"][0]
    assert live.post("/internal/progress", {"id_task": "task(mine)"}).json()["completed"]
    assert live.api.get_progress()["progress"] == 0


@pytest.mark.parametrize("client", TXT2IMG)
def test_the_body_of_a_client_is_understood(live, client):
    body = TXT2IMG[client]
    found = live.post("/sdapi/v1/txt2img", body)
    assert found.status_code == 200, found.text
    info = json.loads(found.json()["info"])
    assert len(found.json()["images"]) == (body.get("batch_size") or 1) * (body.get("n_iter") or 1)
    assert [one for one in info["warnings"] if "save_images" not in one] == []
    wanted = "cyt_nep_mast" if client == "Kobold Lite" else "cyt_mast"
    assert info["sd_model_name"].endswith(wanted)


@pytest.mark.parametrize("client", IMG2IMG)
def test_the_body_of_a_client_with_a_picture_is_understood(live, client, cell, cell_mask):
    body = {**IMG2IMG[client], "init_images": [f"data:image/jpeg;base64,{in_base64(cell, 'JPEG')}"]}
    if "mask" in body:
        body["mask"] = in_base64(cell_mask)
    found = live.post("/sdapi/v1/img2img", body)
    assert found.status_code == 200, found.text
    assert json.loads(found.json()["info"])["warnings"] == []


def test_what_clients_ask_before_they_draw(live):
    for path in ("/queue/status", "/internal/ping", "/internal/pending-tasks", "/docs", "/openapi.json"):
        assert live.get(path).status_code == 200
    for name in ("sd-vae", "loras", "face-restorers", "prompt-styles", "realesrgan-models"):
        assert live.get(f"/sdapi/v1/{name}").json() == []
    assert live.post("/sdapi/v1/interrogate", {"image": ""}).status_code == 404
    assert live.post("/sdapi/v1/refresh-checkpoints").json() is None
    for name in ("memory", "cmd-flags", "sd-models", "hypernetworks"):
        assert str(live.service.settings.data.parent) not in live.get(f"/sdapi/v1/{name}").text


def test_fifty_clients_at_once_all_get_their_own_picture(live):
    answers = {}

    def ask(seed):
        answers[seed] = live.post("/sdapi/v1/txt2img", {**SMALL, "seed": seed}).json()

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {seed: json.loads(answer["info"])["seed"] for seed, answer in answers.items()} == {n: n for n in range(50)}
