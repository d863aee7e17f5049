from engine.serve.sdapi.answer import JSON, info_of, parameters_of

KEYS = """prompt all_prompts negative_prompt all_negative_prompts seed all_seeds subseed all_subseeds subseed_strength
width height sampler_name cfg_scale steps batch_size restore_faces face_restoration_model sd_model_name sd_model_hash
sd_vae_name sd_vae_hash seed_resize_from_w seed_resize_from_h denoising_strength extra_generation_params
index_of_first_image infotexts styles job_timestamp clip_skip is_using_inpainting_conditioning version"""


def test_info_has_every_key_of_the_webui(service, drawing):
    ticket = service.submit(drawing(2, seed=4))
    ticket.result(60)
    info = info_of(ticket, service.classes()[0], None, ["a warning"])
    assert info.keys() == {*KEYS.split(), "warnings"}
    assert (info["seed"], info["all_seeds"], info["all_prompts"]) == (4, [4, 5], ["cyt mast"] * 2)
    used = parameters_of({"seed": -1, "steps": None, "extra": 1}, ticket)
    assert (used["seed"], used["steps"], used["extra"], used["width"]) == (4, 2, 1, 32)


def test_any_text_can_be_sent():
    assert JSON({"a": "\ud800é"}).body == b'{"a": "\\ud800\\u00e9"}'
