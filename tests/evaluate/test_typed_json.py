"""Dataclasses from JSON: every type that records use, and errors that name the place."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import pytest

from evaluate.typed_json import parse


@dataclass(frozen=True)
class Span:
    low: float
    high: float


@dataclass(frozen=True)
class Found:
    name: str
    count: int
    spans: dict[int, Span]
    pair: tuple[float, float]
    values: tuple[float, ...]
    sets: list[dict[str, int]]
    wide: bool = field(init=False)
    sure: bool = True
    spread: float | None = None
    extra: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "wide", self.count > 2)


JSON = {
    "name": "area",
    "count": 3,
    "spans": {"5000": {"low": 1, "high": 2.5}},
    "pair": [1.0, 2.0],
    "values": [1.5, 2, 3],
    "sets": [{"a": 1}, {}],
    "wide": True,
    "sure": False,
    "spread": 0.25,
    "extra": {"seeds": [1, "two"]},
}


def test_a_dataclass_is_built_from_json_and_back():
    found = parse(Found, JSON)
    assert found.spans == {5000: Span(1, 2.5)}
    assert found.values == (1.5, 2, 3)
    assert found.wide
    assert asdict(found) == {
        **JSON,
        "spans": {5000: {"low": 1, "high": 2.5}},
        "pair": (1.0, 2.0),
        "values": (1.5, 2, 3),
    }


def test_defaults_replace_missing_keys_and_unknown_keys_are_ignored():
    few = {key: JSON[key] for key in ("name", "count", "spans", "pair", "values", "sets")}
    found = parse(Found, few | {"colour": "blue"})
    assert (found.sure, found.spread, found.extra) == (True, None, None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": 3}, "record.name is 3, not text"),
        ({"count": True}, "record.count is True, not a number"),
        ({"count": 1.5}, "record.count is 1.5, not a whole number"),
        ({"sure": 1}, "record.sure is 1, not true or false"),
        ({"spans": [1]}, r"record.spans is \[1\], not an object"),
        ({"spans": {"many": {"low": 1, "high": 2}}}, "record.spans has the key 'many', which is not a number"),
        ({"spans": {"1": {"low": 1}}}, "record.spans.1 has no high"),
        ({"pair": [1.0]}, "record.pair has 1 values, not 2"),
        ({"values": [1, "x"]}, r"record.values\[1\] is 'x', not a number"),
        ({"values": "x" * 60}, "record.values is 'x{36}..., not a list"),
        ({"spread": "wide"}, "record.spread is 'wide', not a number"),
        ({"sets": [{"a": None}]}, r"record.sets\[0\].a is None, not a whole number"),
    ],
)
def test_a_wrong_value_is_named(change, words):
    with pytest.raises(ValueError, match=words):
        parse(Found, JSON | change)
