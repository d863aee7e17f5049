"""Tags of adapters in prompts."""

from __future__ import annotations

import pytest

from engine.errors import RequestError
from engine.sampling.prompt_tags import Adapter, read_tags


def test_tags_are_taken_out_of_a_prompt_and_everything_else_stays():
    text = "a cell,  <lora:sharp:0.8> (blue:1.2) <hypernet:mast> <lyco:k:-1> <word> <foo:bar:1>"
    rest, found = read_tags(text)
    assert rest == "a cell, (blue:1.2) <word> <foo:bar:1>"
    assert found == (Adapter("lora", "sharp", 0.8), Adapter("hypernet", "mast"), Adapter("lora", "k", -1.0))
    assert str(found[0]) == "<lora:sharp:0.8>"
    assert read_tags("two  spaces stay") == ("two  spaces stay", ())


@pytest.mark.parametrize("tag", ["<lora:>", "<lora::1>", "<lora:x:high>", "<lora:x:1:0.5>", "<hypernet:x:nan>"])
def test_a_wrong_tag_is_named(tag):
    with pytest.raises(RequestError, match=r"(?s)--prompt.*the tag <"):
        read_tags(f"a {tag}")
