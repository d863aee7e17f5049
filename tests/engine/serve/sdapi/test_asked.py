from dataclasses import replace

import pytest

from engine.sampling.prompt_tags import Adapter
from engine.serve.sdapi.asked import common_settings, prompts_and_class, refuse, unsupported, with_infotext
from engine.serve.sdapi.errors import ApiError
from engine.serve.sdapi.fields import Txt2Img
from engine.serve.sdapi.options import Chosen

INFOTEXT = "a cell\nNegative prompt: blur\nSteps: 7, Sampler: Euler a, Schedule type: Karras, CFG scale: 3, Seed: 5"


def test_an_infotext_fills_what_was_not_given():
    found = with_infotext(Txt2Img(infotext=INFOTEXT, steps=9))
    assert (found.prompt, found.negative_prompt, found.steps, found.seed) == ("a cell", "blur", 9, 5)
    assert (found.sampler_name, found.scheduler, found.cfg_scale) == ("Euler a", "Karras", 3)


def test_an_infotext_of_a_preset_with_a_learned_table_names_the_preset():
    text = "a cell\nSteps: 4, Sampler: Learned, Schedule type: Learned, CFG scale: 1, Seed: 5, Preset: turbo"
    found = with_infotext(Txt2Img(infotext=text, override_settings={"eta_ancestral": 1}))
    assert found.override_settings == {"cytosynth_preset": "turbo", "eta_ancestral": 1}
    assert found.model_fields_set.isdisjoint({"steps", "sampler_name", "scheduler", "cfg_scale"})
    assert (found.prompt, found.seed) == ("a cell", 5)
    with pytest.raises(ApiError, match=r"the preset in override_settings\.cytosynth_preset"):
        common_settings(Txt2Img(sampler_name="Learned"), None, {})


def test_a_field_without_effect_is_named_in_a_warning():
    neutral = Txt2Img(alwayson_scripts={"x": {"args": [False]}, "y": {"args": []}}, s_noise=1.0, s_tmax=0)
    assert unsupported(neutral) == []
    body = {"tiling": True, "styles": ["a"], "restore_faces": True, "alwayson_scripts": {"ADetailer": {"args": [1]}}}
    words = " ".join(unsupported(Txt2Img(**body)))
    assert all(name in words for name in ("tiling", "styles", "restore_faces", "ADetailer"))
    for wrong in ({"script_name": "x"}, {"refiner_checkpoint": "x"}):
        with pytest.raises(ApiError):
            refuse(Txt2Img(**wrong))


def test_a_hypernetwork_in_the_prompt_chooses_its_class(service):
    classes = service.classes()
    prompts, served, warnings = prompts_and_class(
        Txt2Img(prompt="cyt <hypernet:cyt_nep_mast:1> <foo:bar>"), classes[0], classes
    )
    assert prompts == {"prompt": "cyt", "negative_prompt": None}
    assert served.name == "cyt_nep_mast"
    assert ["<foo:bar>" in one for one in warnings] == [True]
    _, served, warnings = prompts_and_class(
        Txt2Img(prompt="<hypernet:cyt_nep_mast:1>", disable_extra_networks=True), classes[0], classes
    )
    assert (served, warnings) == (classes[0], [])


def test_a_lora_in_the_prompt_chooses_its_class_or_is_refused_with_those_that_are_installed(service):
    first, *others = service.classes()
    sharp = replace(first, name="sharp", adapters=(Adapter("lora", "sharp", 0.8), Adapter("hypernet", "mast")))
    classes = [first, *others, sharp]
    for tags in ("<lora:sharp:0.8><hypernet:mast>", "<hypernet:mast:1.0> <lora:sharp:.8>"):
        assert prompts_and_class(Txt2Img(prompt=f"cyt {tags}"), first, classes)[1] is sharp
    for tags in (
        "<lora:sharp:0.8>",
        "<lora:sharp:1><hypernet:mast>",
        "<lora:x:0.8><hypernet:mast>",
        "<hypernet:mast:2>",
    ):
        with pytest.raises(ApiError, match=r"Installed are .*<lora:sharp:0.8><hypernet:mast:1> .class sharp"):
            prompts_and_class(Txt2Img(prompt=tags), first, classes)
    for fields in ({"prompt": "<lora:sharp:high>"}, {"negative_prompt": "<lora:sharp:0.8>"}):
        with pytest.raises(ApiError, match="sharp"):
            prompts_and_class(Txt2Img(**fields), first, classes)


def test_what_is_not_given_is_left_to_the_bundle(service):
    chosen = Chosen(service.classes()[0], 1, "Original", "NumPy")
    settings, warnings = common_settings(Txt2Img(), chosen, {"prompt": None, "negative_prompt": None})
    assert {name for name, value in settings.items() if value is not None} == {"clip_skip", "emphasis", "rng", "seed"}
    assert warnings == []
    _, warnings = common_settings(Txt2Img(sampler_name="DDIM", eta=0.3), chosen, {})
    assert warnings == ["eta 0.3 is not supported: 0 is used"]
