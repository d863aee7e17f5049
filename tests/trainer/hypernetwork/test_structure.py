"""Structures of hypernetworks, right and wrong."""

from __future__ import annotations

import pytest

from engine.errors import RequestError
from engine.options import parse_numbers
from trainer.hypernetwork.structure import HypernetworkSettings


@pytest.mark.parametrize(
    "values",
    [
        {"layer_structure": (1, 2)},
        {"layer_structure": (2, 1)},
        {"layer_structure": (1,)},
        {"layer_structure": (1, 0, 1)},
        {"layer_structure": (1, float("nan"), 1)},
        {"activation": "Relu"},
        {"activation": "softmax"},
        {"weight_init": "zeros"},
        {"dropout_structure": (0, 0.1)},
        {"dropout_structure": (0.1, 0, 0)},
        {"dropout_structure": (0, 1, 0)},
        {"dropout_structure": (0, 0.1, 0.1)},
    ],
)
def test_structures_that_break_a_rule_are_refused(values):
    with pytest.raises(RequestError):
        HypernetworkSettings(**values)


def test_numbers():
    assert parse_numbers("--x", "1, 2,1") == (1, 2, 1)
    for text in ("1,x,1", "", "1,,1", "1,inf"):
        with pytest.raises(RequestError, match="--x"):
            parse_numbers("--x", text)
