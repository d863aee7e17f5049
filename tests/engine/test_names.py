"""Names that may become parts of file names."""

from __future__ import annotations

import pytest

from engine.names import is_class_name


@pytest.mark.parametrize("name", ["cyt_mast", "a", "9-lives", "x" * 64])
def test_a_name_that_follows_the_rule(name):
    assert is_class_name(name)


@pytest.mark.parametrize("name", ["", "_a", "-a", "a.b", "../up", "a b", "ä", "x" * 65, "a\n"])
def test_a_name_that_breaks_the_rule(name):
    assert not is_class_name(name)
