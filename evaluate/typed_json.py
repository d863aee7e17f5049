"""Dataclasses from JSON: `parse` builds a value of a given type from parsed JSON and names the first wrong value."""

from __future__ import annotations

import types
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Union, get_args, get_origin, get_type_hints

__all__ = ["parse"]


def parse(kind: Any, value: Any, place: str = "record") -> Any:
    """Return `value`, which json.loads gave, as an instance of `kind`.

    kind: a dataclass, str, int, float, bool, Any, a union, or dict, list or tuple of these. A dataclass ignores unknown
    keys, and a missing key takes the field's default, so that files of other versions stay readable. Fields that the
    constructor does not take are computed again.

    Raises ValueError that names the place, such as "results.figures.FID-64.floor", and what was found there.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if is_dataclass(kind) and isinstance(kind, type):
        return _parse_dataclass(kind, value, place)
    if origin in (Union, types.UnionType):
        return _parse_union(arguments, value, place)
    if origin is dict:
        key, inner = arguments
        items = _expect(value, dict, "an object", place).items()
        return {_parse_key(key, name, place): parse(inner, one, f"{place}.{name}") for name, one in items}
    if origin is list or (origin is tuple and arguments[-1] is Ellipsis):
        found = [parse(arguments[0], one, f"{place}[{i}]") for i, one in enumerate(_expect_list(value, place))]
        return found if origin is list else tuple(found)
    if origin is tuple:
        values = _expect_list(value, place)
        if len(values) != len(arguments):
            raise ValueError(f"{place} has {len(values)} values, not {len(arguments)}")
        return tuple(parse(one, values[i], f"{place}[{i}]") for i, one in enumerate(arguments))
    return _parse_scalar(kind, value, place)


def _parse_dataclass(kind: type[Any], value: Any, place: str) -> Any:
    found = _expect(value, dict, "an object", place)
    hints = get_type_hints(kind)
    given = {}
    for declared in fields(kind):
        if not declared.init:
            continue
        if declared.name in found:
            given[declared.name] = parse(hints[declared.name], found[declared.name], f"{place}.{declared.name}")
        elif declared.default is MISSING and declared.default_factory is MISSING:
            raise ValueError(f"{place} has no {declared.name}")
    return kind(**given)


def _parse_union(kinds: tuple[Any, ...], value: Any, place: str) -> Any:
    if value is None and type(None) in kinds:
        return None
    errors = []
    for kind in kinds:
        if kind is not type(None):
            try:
                return parse(kind, value, place)
            except ValueError as error:
                errors.append(error)
    raise errors[0]


def _parse_key(kind: Any, name: str, place: str) -> Any:
    """JSON writes the keys of objects as text, also the numbers."""
    if kind is int:
        if not name.isdecimal():
            raise ValueError(f"{place} has the key {name!r}, which is not a number")
        return int(name)
    return name


def _parse_scalar(kind: Any, value: Any, place: str) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind is float and is_number:
        return value
    if kind in (str, bool) or (kind is int and not isinstance(value, bool)):
        words = {str: "text", bool: "true or false", int: "a whole number"}[kind]
        return _expect(value, kind, words, place)
    raise ValueError(f"{place} is {_shown(value)}, not a {'number' if kind in (int, float) else kind}")


def _expect_list(value: Any, place: str) -> list[Any]:
    # asdict keeps tuples, which JSON writes as lists.
    return list(_expect(value, list | tuple, "a list", place))


def _expect(value: Any, kind: Any, words: str, place: str) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"{place} is {_shown(value)}, not {words}")
    return value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
