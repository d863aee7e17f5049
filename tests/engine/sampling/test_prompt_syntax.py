"""The syntax of prompts: what holds in which evaluation, and what is an error at which character."""

from __future__ import annotations

import pytest

from engine.errors import RequestError
from engine.sampling.prompt_syntax import parse_prompt, split_tags


def held(text, evaluation=0, evaluations=10):
    """Return the passages of the only part, with rounded weights."""
    (part,) = parse_prompt(text).parts
    passages = part.passages(evaluation, evaluations)
    return [[(words, round(weight, 6)) for words, weight in passage] for passage in passages]


@pytest.mark.parametrize(
    "text",
    ["", "cyt mast", "ratio 16:9", "a, b|c", "BREAKING BRANDS: 4", "a \\ b", "C:\\cells", "and break"],
)
def test_a_prompt_without_the_syntax_is_plain(text):
    read = parse_prompt(text)
    assert read.plain
    assert held(text) == [[(text, 1.0)]] or text == ""


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        # The weights that AUTOMATIC1111's WebUI gives these texts.
        ("(x)", [("x", 1.1)]),
        ("[x]", [("x", 0.909091)]),
        ("((x))", [("x", 1.21)]),
        ("([x])", [("x", 1.0)]),
        ("(x:1.3)", [("x", 1.3)]),
        ("(x : 1.3 )", [("x ", 1.3)]),
        ("(x:-1)", [("x", -1.0)]),
        ("(x:0)", [("x", 0.0)]),
        ("(x:.5)", [("x", 0.5)]),
        ("a (b (c:2) d:1.5) e", [("a ", 1.0), ("b ", 1.5), ("c", 3.0), (" d", 1.5), (" e", 1.0)]),
        ("a (house:1.0) b", [("a house b", 1.0)]),
        (r"\(literal\]", [("(literal]", 1.0)]),
        (r"(unbalanced \) and \\)", [("unbalanced ) and \\", 1.1)]),
        ("(a:b:2)", [("a:b", 2.0)]),
        ("(a:b)", [("a:b", 1.1)]),
        ("(a|b)", [("a|b", 1.1)]),
        ("mo(no)cyte", [("mo", 1.0), ("no", 1.1), ("cyte", 1.0)]),
        ("()", []),
    ],
)
def test_weights(text, wanted):
    assert held(text) == [wanted]


def test_break_ends_a_passage_also_in_brackets():
    assert held("a BREAK b") == [[("a", 1.0)], [("b", 1.0)]]
    assert held("(a BREAK b:2) c") == [[("a", 2.0)], [("b", 2.0), (" c", 1.0)]]
    assert held("BREAK") == [[], []]


def over(text, evaluations):
    return [
        "".join(words for passage in held(text, i, evaluations) for words, _ in passage) for i in range(evaluations)
    ]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        # "from" holds for evaluations 0 to N, as in the WebUI.
        ("[a:b:0.5]", "aaaaaabbbb"),
        ("[a:b:3]", "aaaabbbbbb"),
        ("[b:3]", ["", "", "", "", *"bbbbbb"]),
        ("[a::3]", [*"aaaa", "", "", "", "", "", ""]),
        ("[a:b: 3 ]", "aaaabbbbbb"),
        ("[a:b:0]", "bbbbbbbbbb"),
        ("[a:b:0.0]", "bbbbbbbbbb"),
        ("[a:b:1.0]", "aaaaaaaaaa"),
        ("[a:b:200]", "aaaaaaaaaa"),
        ("[[a:b:2]:c:5]", "aaabbbcccc"),
        ("[a:[b:c:6]:2]", "aaabbbbccc"),
        # The first option holds for evaluations 0 and 1, as in the WebUI.
        ("[a|b]", "aababababa"),
        ("[a|b|c]", "aabcabcabc"),
        ("[a|]", ["a", "a", "", "a", "", "a", "", "a", "", "a"]),
        ("[a|[b:c:5]]", "aababacaca"),
    ],
)
def test_editing_and_alternation_count_evaluations(text, wanted):
    assert over(text, 10) == list(wanted)


def test_a_share_counts_the_evaluations_that_run():
    assert over("[a:b:0.5]", 4) == list("aaab")
    assert over("[a:b:0.29]", 20) == ["a"] * 6 + ["b"] * 14


def test_weights_and_editing_nest():
    assert held("([a:(b:2):1]:1.5)", 0) == [[("a", 1.5)]]
    assert held("([a:(b:2):1]:1.5)", 5) == [[("b", 3.0)]]


def test_parts_have_weights_and_a_single_part_has_none():
    read = parse_prompt("a AND b:0.5 AND (c:2) d : -1")
    assert read.weights == (1.0, 0.5, -1.0)
    texts = [[words for words, _ in part.passages(0, 1)[0]] for part in read.parts]
    assert texts == [["a "], [" b"], [" ", "c", " d"]]
    assert parse_prompt("ratio 16:9").weights == (1.0,)
    assert parse_prompt("ratio 16:9 AND b").weights == (9.0, 1.0)
    assert parse_prompt("BAND ANDROID").weights == (1.0,)
    assert parse_prompt(r"ratio 16\:9 AND b").weights == (1.0, 1.0)


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("eosinophil (dark", 12, "not closed"),
        ("[a", 1, "not closed"),
        ("a (b [c) d", 8, "closes the [ at character 6"),
        ("a) b", 2, "too many"),
        ("a] b", 2, "too many"),
        ("(x:.)", 3, "no number"),
        ("(x:1.2.3)", 3, "no number"),
        ("(x:)", 3, "no number"),
        ("a [x:1.3] b", 3, "(x:1.3) for a weight"),
        ("[a:b]", 1, "[from:to:when]"),
        ("[a:b:c]", 1, "[from:to:when]"),
        ("[a:b:-2]", 1, "[from:to:when]"),
        ("[a:b:c:2]", 7, "same brackets"),
        ("[a|b:2]", 5, "same brackets"),
        ("(a AND b)", 4, "AND in brackets"),
    ],
)
def test_wrong_syntax_is_an_error_with_its_place(text, place, words):
    with pytest.raises(RequestError) as caught:
        parse_prompt(text)
    assert f"at character {place}," in caught.value.found
    assert words in str(caught.value)


def test_a_negative_prompt_has_one_part():
    with pytest.raises(RequestError, match="AND at character 3"):
        parse_prompt("a AND b", "--negative-prompt", parts=False)


def test_tags_are_split_outside_brackets():
    assert split_tags("a, (b, c:1.2) , [d, e],, f\\(, g") == ["a", "(b, c:1.2)", "[d, e]", "f\\(", "g"]
