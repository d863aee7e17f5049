import pytest

from engine.serve.sdapi.fields import Txt2Img
from engine.serve.sdapi.hires import hires_settings


@pytest.mark.parametrize(
    ("fields", "first", "second"),
    [
        ({}, {}, (64, 96)),
        ({"hr_scale": 1.5}, {}, (48, 72)),
        ({"hr_resize_x": 128}, {}, (128, 192)),
        ({"hr_resize_y": 192}, {}, (128, 192)),
        ({"hr_resize_x": 64, "hr_resize_y": 64}, {}, (64, 64)),
        ({"firstphase_width": 16, "firstphase_height": 16}, {"width": 16, "height": 16}, (32, 48)),
    ],
)
def test_the_size_of_the_second_pass(fields, first, second):
    found, warnings = hires_settings(Txt2Img(enable_hr=True, **fields), (32, 48))
    assert found["hires_size"] == second
    assert {name: found[name] for name in first} == first
    assert (found["hires_strength"], found["hires_upscaler"], found["hires_steps"]) == (0.7, "latent", None)
    assert warnings == []


def test_nothing_without_it_and_a_warning_for_what_only_the_first_pass_can_have():
    assert hires_settings(Txt2Img(hr_prompt="other"), (32, 32)) == ({}, [])
    fields = Txt2Img(enable_hr=True, prompt="a", hr_prompt="b", hr_sampler_name="Use same sampler", hr_scheduler="Beta")
    _, warnings = hires_settings(fields, (32, 32))
    assert [one.split()[0] for one in warnings] == ["hr_scheduler", "hr_prompt"]
