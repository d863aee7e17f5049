import pytest

from engine.serve.sdapi.errors import ApiError
from engine.serve.sdapi.names import class_of, hires_upscaler_of, is_same, sampler_settings


@pytest.mark.parametrize(
    ("name", "scheduler", "expected"),
    [
        (None, None, {}),
        ("DPM++ 2M Karras", None, {"sampler": "dpmpp_2m", "schedule": "karras"}),
        ("DPM++ 2M Karras", "Automatic", {"sampler": "dpmpp_2m", "schedule": "karras"}),
        ("k_euler_a", "uniform", {"sampler": "euler_a", "schedule": "uniform"}),
        ("euler A", "SGM Uniform", {"sampler": "euler_a", "schedule": "sgm_uniform"}),
        ("ddim", None, {"sampler": "ddim"}),
        ("DPM++ SDE Karras", None, {"sampler": "dpmpp_sde", "schedule": "karras"}),
        ("DPM++ 2M SDE Heun Exponential", None, {"sampler": "dpmpp_2m_sde_heun", "schedule": "exponential"}),
        ("DDIM CFG++", "KL Optimal", {"sampler": "ddim_cfgpp", "schedule": "kl_optimal"}),
        (None, "exponential", {"schedule": "exponential"}),
        (None, "Automatic", {"schedule": None}),
    ],
)
def test_samplers_are_found_by_their_names_and_aliases(name, scheduler, expected):
    assert sampler_settings(name, scheduler) == expected


def test_no_sampler_takes_the_place_of_an_unknown_one():
    with pytest.raises(ApiError, match=r"DPM\+\+ 4M") as refused:
        sampler_settings("DPM++ 4M Karras", None)
    assert refused.value.status == 400
    with pytest.raises(ApiError, match=r"Sampler not available: DPM adaptive\. it chooses each step") as refused:
        sampler_settings("DPM adaptive", None)
    assert refused.value.status == 400
    with pytest.raises(ApiError, match="Scheduler not found: Turbo"):
        sampler_settings("Euler", "Turbo")


def test_a_class_is_found_by_title_name_or_a_part_that_only_it_has(service):
    classes = service.classes()
    for one in classes:
        for name in (one.title, one.model, one.name, f" {one.title} "):
            assert class_of(name, classes) == one
    assert class_of("nep_mast", classes).name == "cyt_nep_mast"
    for wrong in ("", "bundle", classes[0].sha256[:10], "other"):
        with pytest.raises(ApiError, match="not found"):
            class_of(wrong, classes)


def test_upscalers_of_the_second_pass():
    assert hires_upscaler_of("Latent (nearest-exact)") == "latent-nearest"
    assert hires_upscaler_of("Lanczos") == "lanczos"
    assert is_same("Use same sampler")
    assert not is_same("Euler")
