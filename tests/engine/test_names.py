"""Names that may become parts of file names."""

from __future__ import annotations

import pytest

from engine.names import is_class_name, look_alikes


@pytest.mark.parametrize("name", ["cyt_mast", "a", "9-lives", "x" * 64])
def test_a_name_that_follows_the_rule(name):
    assert is_class_name(name)


@pytest.mark.parametrize(
    "name", ["", "_a", "-a", "a.b", "../up", "a b", "ä", "x" * 65, "a\n", "all", "All", "CON", "com1"]
)
def test_a_name_that_breaks_the_rule(name):
    assert not is_class_name(name)


def test_names_that_differ_in_case_only_are_found():
    assert look_alikes(["mast", "Mast", "b"]) == ["mast", "Mast"]
    assert look_alikes(["mast", "mast", "mast2"]) == []
