"""The checkpoints that are found, in order, and the missing ones that are named."""

from __future__ import annotations

import pytest

from engine.errors import RequestError
from evaluate.studies.checkpoints import find_checkpoints


def test_checkpoints_are_found_in_order(checkpoints):
    found = find_checkpoints(checkpoints, [], [])
    assert [one.name for one in found] == ["cyt_mast-5000", "cyt_mast-10000", "cyt_nep_mast-5000"]
    assert [one.name for one in find_checkpoints(checkpoints, ["cyt_nep_mast"], [])] == ["cyt_nep_mast-5000"]
    assert [one.name for one in find_checkpoints(checkpoints, ["cyt_mast"], [10000])] == ["cyt_mast-10000"]


@pytest.mark.parametrize(
    ("names", "steps", "missing"),
    [
        (["cyt_kist_mast"], [], "cyt_kist_mast"),
        (["cyt_mast"], [15000], "cyt_mast-15000"),
        (["cyt_mast", "cyt_nep_mast"], [10000], "cyt_nep_mast-10000"),
    ],
)
def test_missing_checkpoints_are_named(names, steps, missing, checkpoints):
    with pytest.raises(RequestError) as refused:
        find_checkpoints(checkpoints, names, steps)
    assert f"expected: {missing}\n" in str(refused.value)
    assert "cyt_mast-010000.safetensors" in str(refused.value)
