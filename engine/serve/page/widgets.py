"""Widgets that are built from the settings dataclasses, so that help texts, ranges and defaults stand in one place."""

from __future__ import annotations

import math
import re
import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import gradio as gr

from engine.bundle.settings import GROUPS
from engine.errors import RequestError
from engine.options import Range, flags_of, help_of

__all__ = ["SLIDER", "Widgets", "label_of"]

DEFAULT = "default"
"""What a menu shows for None."""
SIDES = {"L": "left", "T": "top", "R": "right", "B": "bottom", "W": "width", "H": "height"}
"""What the letters of a metavar mean."""
FLAGS = {flag: name for kind in GROUPS.values() for name, flag in flags_of(kind).items()}
SLIDER = 128
"""Widest range of whole numbers for a slider. A wider one is typed more easily."""


@dataclass(frozen=True)
class _Widget:
    """The components of one field, and the function that turns their values into the field's value."""

    name: str
    components: list[Any]
    read: Callable[..., Any]


class Widgets:
    """The widgets of some fields of a settings dataclass, in the order of the names.

    They are added to the block that is open. `components` are the inputs of an event, and `values` turns what the event
    receives into values of the fields.
    """

    def __init__(
        self,
        kind: type[Any],
        names: Sequence[str],
        *,
        start: Mapping[str, Any] | None = None,
        choices: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Add the widgets.

        start: values to begin with that differ from the defaults. choices: words of fields that declare none.
        """
        hints = get_type_hints(kind)
        declared = {one.name: one for one in fields(kind)}
        given, words = start or {}, choices or {}
        self._widgets = [
            _make(declared[name], hints[name], given.get(name, _default(declared[name])), words.get(name))
            for name in names
        ]

    @property
    def components(self) -> list[Any]:
        """All components, in order."""
        return [component for widget in self._widgets for component in widget.components]

    def __getitem__(self, name: str) -> Any:
        """Return the component of a field that has one."""
        return next(widget.components[0] for widget in self._widgets if widget.name == name)

    def values(self, given: Sequence[Any]) -> dict[str, Any]:
        """Return the value of each field. given: the values of `components`. Raises RequestError."""
        found, place = {}, 0
        for widget in self._widgets:
            own = given[place : place + len(widget.components)]
            place += len(own)
            found[widget.name] = widget.read(*own)
        return found


def label_of(declared: Field[Any]) -> str:
    """Return the label of a field: the words of its option."""
    flag = str(declared.metadata["option"].flag or declared.name).split()[0]
    return flag.removeprefix("--").replace("-", " ").replace("_", " ").capitalize()


def _help(declared: Field[Any]) -> str:
    """Return the help of a field. Options that it names become the labels of their widgets."""

    def label(found: re.Match[str]) -> str:
        return f'"{found[1].replace("-", " ").capitalize()}"' if found[0] in FLAGS else found[0]

    return re.sub(r"--([a-z-]*[a-z])", label, help_of(declared))


def _default(declared: Field[Any]) -> Any:
    return None if declared.default is MISSING else declared.default


def _make(declared: Field[Any], hint: Any, value: Any, choices: Sequence[str] | None) -> _Widget:
    """Add the components of a field."""
    kind, optional = _plain(hint)
    option, name = declared.metadata["option"], declared.name
    shown: dict[str, Any] = {"label": label_of(declared), "info": _help(declared)}
    words = list(option.choices or choices or ())
    if kind is bool:
        return _Widget(name, [gr.Checkbox(value, **shown)], bool)
    if words or choices is not None:
        menu = [*([(DEFAULT, "")] if optional else []), *((word, word) for word in words)]
        return _Widget(name, [gr.Dropdown(menu, value=value or "", **shown)], lambda word: word or None)
    if kind in (int, float):
        within = option.within or Range()
        return _Widget(
            name, [_number(within, kind, value, shown)], lambda given: _read(label_of(declared), kind, given)
        )
    if get_origin(kind) is tuple:
        return _several(declared, kind, value)
    if kind in (str, Path):
        return _Widget(name, [gr.Textbox(value or "", **shown)], lambda text: text or None)
    raise TypeError(f"no widget for the field {name} of type {hint}")


def _number(within: Range, kind: type[int | float], value: Any, shown: dict[str, Any]) -> Any:
    """Return a slider for a narrow range with a value, and a field to type in otherwise."""
    low, high, step = within.low, within.high, 1 if kind is int else 0.01
    if value is None:
        # Gradio's field for numbers would show 0 for None.
        return gr.Textbox("", placeholder=DEFAULT, max_lines=1, **shown)
    if low is not None and high is not None and high - low <= SLIDER:
        return gr.Slider(low, high, value=value, step=step, **shown)
    return gr.Number(value, minimum=low, maximum=high, step=step, precision=0 if kind is int else None, **shown)


def _read(label: str, kind: type[int | float], given: Any) -> int | float | None:
    """Return the number of a component, or None for an empty field. Raises RequestError."""
    text = "" if given is None else str(given).strip()
    if not text:
        return None
    try:
        number = float(text)
        if not math.isfinite(number) or (kind is int and not number.is_integer()):
            raise ValueError
    except ValueError:
        expected = "a whole number" if kind is int else "a number"
        raise RequestError(label, found=text[:40], expected=expected, fix="change the value") from None
    return int(text) if kind is int and "." not in text and "e" not in text.lower() else kind(number)


def _several(declared: Field[Any], kind: Any, value: Any) -> _Widget:
    """Return one field to type in for each number of a tuple."""
    members = get_args(kind)
    metavar = (declared.metadata["option"].metavar or "").split()
    names = [SIDES.get(word, word) for word in metavar] or [f"{i + 1} of {len(members)}" for i in range(len(members))]
    label = label_of(declared)
    gr.Markdown(f"{label}: {_help(declared)}", elem_classes="help")
    with gr.Row():
        components = [
            _number(Range(), member, value and value[i], {"label": f"{label}, {name}", "min_width": 80})
            for i, (member, name) in enumerate(zip(members, names, strict=True))
        ]

    def read(*given: Any) -> tuple[Any, ...] | None:
        numbers = tuple(_read(label, member, one) for member, one in zip(members, given, strict=True))
        if all(number is None for number in numbers):
            return None
        if None in numbers:
            found = ", ".join("nothing" if number is None else f"{number:g}" for number in numbers)
            raise RequestError(label, found=found, expected=f"{len(numbers)} numbers", fix="fill in all, or none")
        return numbers

    return _Widget(declared.name, components, read)


def _plain(hint: Any) -> tuple[Any, bool]:
    """Return the type of a field without None, and whether it may be None."""
    if get_origin(hint) in (Union, types.UnionType):
        members = [one for one in get_args(hint) if one is not type(None)]
        return members[0], len(members) < len(get_args(hint))
    return hint, False
