"""A tag in a prompt selects the class that was merged of exactly these adapters, or is refused."""

from __future__ import annotations

import pytest

from engine.bundle.variants import installed, matching, select_variant
from engine.errors import RequestError
from engine.sampling.prompt_tags import Adapter

CLASSES = {
    "old": None,
    "plain": (),
    "sharp": (Adapter("lora", "sharp", 0.8),),
    "both": (Adapter("lora", "sharp", 0.8), Adapter("hypernet", "mast", 0.5)),
    "twin": (Adapter("lora", "sharp", 0.8),),
    "whole": (Adapter("unet", "sharp", 0.8),),
}


@pytest.mark.parametrize(
    ("asked", "prompt", "expected"),
    [
        ("plain", "cell", ("plain", "cell")),
        ("plain", None, ("plain", None)),
        ("plain", "cell <lora:sharp:0.8>", ("sharp", "cell")),
        ("twin", "<lora:sharp:0.8>", ("twin", None)),
        ("plain", "<hypernet:mast:.5> <lora:sharp:0.8>", ("both", None)),
        ("plain", "<hypernet:old>", ("old", None)),
        ("plain", "a <word>", ("plain", "a <word>")),
    ],
)
def test_a_tag_selects_the_class(asked, prompt, expected):
    chosen, rest = select_variant((asked,), prompt, None, CLASSES)
    assert (chosen, rest) == ((expected[0],), expected[1])


@pytest.mark.parametrize("tags", ["<lora:sharp>", "<lora:other:0.8>", "<hypernet:sharp:0.8>", "<hypernet:plain>"])
def test_adapters_that_no_class_was_merged_of_are_refused_with_the_list(tags):
    with pytest.raises(RequestError, match=r"(?s)exactly these adapters.*<lora:sharp:0.8> .class sharp"):
        select_variant(("plain",), tags, None, CLASSES)


def test_tags_need_one_class_and_stand_in_the_prompt():
    with pytest.raises(RequestError, match="2 classes"):
        select_variant(("plain", "sharp"), "<lora:sharp:0.8>", None, CLASSES)
    with pytest.raises(RequestError, match="--negative-prompt"):
        select_variant(("plain",), "cell", "blurry <lora:sharp:0.8>", CLASSES)


def test_the_list_is_short():
    assert installed({"plain": ()}) == "none"
    assert installed({str(i): (Adapter("lora", str(i)),) for i in range(30)}).endswith(" and 10 more")
    assert matching((), CLASSES) == ["plain"]
