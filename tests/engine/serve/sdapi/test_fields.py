import pytest
from pydantic import ValidationError

from engine.serve.sdapi.fields import Img2Img, Txt2Img


def test_null_is_not_given_and_types_are_coerced_and_unknown_fields_ignored():
    found = Txt2Img.model_validate({"steps": "20", "batch_size": 2.0, "prompt": None, "script_args": None, "x": {}})
    assert (found.steps, found.batch_size, found.prompt, found.script_args) == (20, 2, "", [])
    assert Txt2Img.model_validate({"prompt": 7}).prompt == "7"


@pytest.mark.parametrize(
    "body",
    [{"steps": 0}, {"seed": 2**63}, {"cfg_scale": float("nan")}, {"prompt": "\ud800"}, {"n_iter": "x"}, [], "text"],
)
def test_a_wrong_value_is_refused(body):
    with pytest.raises(ValidationError):
        Txt2Img.model_validate(body)


def test_the_defaults_are_those_of_the_webui():
    found = Img2Img()
    assert (found.denoising_strength, found.inpainting_fill, found.inpaint_full_res) == (0.75, 0, True)
