"""Axes of a grid: a setting and its values, read from texts such as `steps=8,12,20` or `seed=1-9(+2)`.

The ranges are those of AUTOMATIC1111's X/Y/Z plot: 1-5, 1-9(+2), and 1-10[5] for five values. A range of whole numbers
that falls stops before its end, as there: 9-1(-2) is 9, 7, 5, 3.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import Field, dataclass, field, fields, replace
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from engine.bundle.settings import GROUPS, RequestSettings
from engine.errors import RequestError
from engine.options import check_settings, flags_of

__all__ = ["Axis", "AxisValue", "parse_axis", "settings_at"]

CLASS, SIZE, REPLACE = "class", "size", "prompt_replace"
NAMES = {
    "cfg_scale": "guidance_scale",
    "denoising": "strength",
    "prompt_s/r": REPLACE,
    "var._seed": "variation_seed",
    "var._strength": "variation_strength",
    "schedule_type": "schedule",
}
"""Names of the WebUI for axes that have another name here."""
SLOW = {"precision": 4, "backend": 4, "threads": 4, CLASS: 3, "width": 2, "height": 2, SIZE: 2, "batch_size": 2}
"""How much a change of a setting costs, because graphs are opened again. Others cost nothing."""
MOST = 1000
"""Largest number of values of a range."""
WHOLE = r"\s*([+-]?\d+)\s*"
DECIMAL = r"\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+))\s*"
SIDES = re.compile(r"(\d+)\s*x\s*(\d+)")
WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@dataclass(frozen=True)
class AxisValue:
    """One value of an axis, and what it changes."""

    label: str
    fields: dict[str, Any] = field(default_factory=dict)
    """Values of fields of the request's settings."""
    class_name: str | None = None
    replaced: tuple[str, str] | None = None
    """What is sought in the prompts, and what takes its place."""


@dataclass(frozen=True)
class Axis:
    """An axis of a grid."""

    flag: str
    """The option that states the axis: `--x`, `--y` or `--z`."""
    name: str
    values: tuple[AxisValue, ...]

    @property
    def slowness(self) -> int:
        """How far outside in the loop the axis belongs."""
        return SLOW.get(self.name, 0)

    def words(self, value: AxisValue) -> str:
        """Return the axis and a value of it, as on the command line."""
        return f"{self.flag} {self.name}={value.label}"


def parse_axis(flag: str, text: str) -> Axis:
    """Return the axis that a text such as `steps=8,12` states. Raises RequestError that names axis and value."""
    name, sign, listed = text.partition("=")
    name = name.strip().removeprefix("--").lower().replace("-", "_").replace(" ", "_")
    name = NAMES.get(name, name)
    try:
        (items,) = csv.reader([listed], skipinitialspace=True, strict=True)
    except (ValueError, csv.Error):
        items = []
    items = [item.strip() for item in items]
    if not sign or not any(items):
        raise RequestError(
            f"{flag} {text}", found="no values", expected="a setting and its values", fix=f'write {flag} "steps=8,12"'
        )
    values = _values(flag, name, items)
    labels = [value.label for value in values]
    if len({*labels}) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        raise RequestError(
            f"{flag} {name}", found=f"{twice} twice", expected="different values", fix="remove one of them"
        )
    return Axis(flag, name, tuple(values))


def _values(flag: str, name: str, items: list[str]) -> list[AxisValue]:
    if name == CLASS:
        return [AxisValue(item, class_name=item) for item in items]
    if name == REPLACE:
        return [AxisValue(item, replaced=(items[0], item)) for item in items]
    if name == SIZE:
        return [_size(flag, item) for item in items]
    found = _fields().get(name)
    if found is None:
        raise RequestError(
            f"{flag} {name}",
            found="no such setting",
            expected=f"{CLASS}, {SIZE}, {REPLACE}, or one of {', '.join(sorted(_fields()))}",
            fix="choose one of these",
        )
    kind, declared, hint = found
    values = []
    for item in items:
        for value in _parsed(f"{flag} {name}={item}", declared, hint, item):
            try:
                check_settings(replace(kind(), **{declared.name: value}))
            except RequestError as error:
                raise _at(f"{flag} {name}={item}", error) from error
            if declared.name == "seed" and value == -1:
                raise RequestError(
                    f"{flag} {name}=-1",
                    found="a seed to draw",
                    expected="seeds, so that the grid can be continued",
                    fix="write the numbers, or draw one seed for the whole grid with --seed -1",
                )
            values.append(AxisValue(_label(value, item), {declared.name: value}))
    return values


def _at(place: str, error: RequestError) -> RequestError:
    """Return an error with the place of the grid in front of its subject."""
    return RequestError(f"{place}: {error.subject}", found=error.found, expected=error.expected, fix=error.fix)


def _label(value: Any, item: str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value) if isinstance(value, int) else item


def _size(flag: str, item: str) -> AxisValue:
    sides = SIDES.fullmatch(item)
    if sides is None:
        raise RequestError(
            f"{flag} {SIZE}={item}", found=item, expected="width x height", fix="write, for example, 128x128"
        )
    return AxisValue(item, {"width": int(sides[1]), "height": int(sides[2])})


def _fields() -> dict[str, tuple[type[Any], Field[Any], Any]]:
    """Return the group, the field and the type of each setting, by the name of its field and of its option."""
    found = {}
    for kind in GROUPS.values():
        hints, flags = get_type_hints(kind), flags_of(kind)
        for declared in fields(kind):
            entry = kind, declared, hints[declared.name]
            found[declared.name] = entry
            found[flags[declared.name].removeprefix("--").replace("-", "_")] = entry
    return found


def _parsed(place: str, declared: Field[Any], hint: Any, item: str) -> Sequence[Any]:
    """Return the values of one item, which are several for a range. Raises RequestError."""
    parser = declared.metadata["option"].parser
    if parser is not None:
        return [parser(item)]
    kinds = {kind for kind in get_args(hint) if kind is not NoneType} if get_args(hint) else {hint}
    if get_origin(hint) is tuple:
        kinds = {hint}
    (kind,) = kinds
    if kind is bool:
        if item.lower() not in WORDS:
            raise RequestError(place, found=item, expected="true or false", fix="choose one of these")
        return [WORDS[item.lower()]]
    if kind is int:
        return _range(place, item, WHOLE, int)
    if kind is float:
        return _range(place, item, DECIMAL, float)
    if get_origin(kind) is tuple:
        return [_numbers(place, item, get_args(kind))]
    return [Path(item) if kind is Path else item]


def _numbers(place: str, item: str, kinds: tuple[type, ...]) -> tuple[Any, ...]:
    """Return as many numbers as the setting has, separated by spaces: two for a guidance interval, four for `expand`.

    They may be separated by commas, too, if the whole item stands in quotes.
    """
    words = item.replace(",", " ").split()
    try:
        return tuple(kind(word) for kind, word in zip(kinds, words, strict=True))
    except ValueError:
        example = " ".join(str(8 * place) for place in range(1, len(kinds) + 1))
        raise RequestError(
            place, found=item, expected=f"{len(kinds)} numbers", fix=f"write, for example, {example}"
        ) from None


def _range(place: str, item: str, number: str, kind: type[int] | type[float]) -> Sequence[float]:
    """Return the numbers that an item states: one, or a range of them."""
    if single := re.fullmatch(number, item):
        return [kind(single[1])]
    found = re.fullmatch(rf"{number}-{number}(?:\({number}\)|\[\s*(\d+)\s*\])?\s*", item)
    if found is None:
        what = "a whole number" if kind is int else "a number"
        expected = f"{what}, or a range such as 1-5, 1-9(+2) or 1-10[5]"
        raise RequestError(place, found=item, expected=expected, fix="change the value")
    start, end, step, count = found.groups()
    low, high, by = kind(start), kind(end), kind(step or 1)
    values: list[float] = []
    if count is not None and 0 < int(count) <= MOST:
        values = [kind(value) for value in np.linspace(low, high, int(count)).tolist()]
    elif count is None and by and abs((high - low) / by) < MOST:
        # Like the WebUI: a falling range of whole numbers ends before its end, one of decimals may pass it.
        stop = high + 1 if kind is int else high + by
        values = [kind(value) for value in np.arange(low, stop, by).tolist()]
    if not values:
        raise RequestError(
            place, found=f"a range of no values, or of more than {MOST}", expected="values", fix="write 9-1(-2) to fall"
        )
    return values


def settings_at(settings: RequestSettings, values: Sequence[AxisValue], own_prompt: str) -> RequestSettings:
    """Return the settings with those of the values of all axes.

    own_prompt: the prompt of the class, in which text is replaced if the settings have none. Raises RequestError if the
    text to replace is in neither prompt.
    """
    changes = {name: value for chosen in values for name, value in chosen.fields.items()}
    changed = settings.changed(changes)
    for chosen in values:
        if chosen.replaced is not None:
            changed = replace(changed, picture=_replaced(changed.picture, chosen.replaced, own_prompt))
    return changed


def _replaced(picture: Any, replaced: tuple[str, str], own_prompt: str) -> Any:
    sought, by = replaced
    prompt = own_prompt if picture.prompt is None else picture.prompt
    negative = picture.negative_prompt
    if sought not in prompt and sought not in (negative or ""):
        raise RequestError(
            REPLACE,
            found=f"no {sought!r} in the prompt {prompt!r} or the negative prompt",
            expected="the first value to be a part of a prompt, which the others replace",
            fix="change the first value, or give --prompt",
        )
    changes: dict[str, str] = {}
    if sought in prompt:
        changes["prompt"] = prompt.replace(sought, by)
    if sought in (negative or ""):
        changes["negative_prompt"] = negative.replace(sought, by)
    return replace(picture, **changes)
