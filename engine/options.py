"""Settings that are declared once: a frozen dataclass defines the options of a command and their checks."""

from __future__ import annotations

import functools
import inspect
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass, replace
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from engine.errors import RequestError

__all__ = [
    "Prefix",
    "Range",
    "Without",
    "check_settings",
    "check_within",
    "expect_unset",
    "flags_of",
    "help_of",
    "parse_each",
    "parse_list",
    "parse_numbers",
    "parse_whole_numbers",
    "setting",
    "with_options",
]

Item = TypeVar("Item")


LARGEST = 2**63 - 1
"""Largest whole number of an option: the libraries below count in 64 bits."""


@dataclass(frozen=True)
class Range:
    """The allowed values of a field: `low` and `high` are included, `above` and `below` are not."""

    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None

    def __contains__(self, value: float) -> bool:
        """Whether the value is inside the range. NaN is outside every range."""
        return (
            (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        if self.low is not None and self.high is not None:
            return f"{self.low} to {self.high}"
        limits = {"at least": self.low, "above": self.above, "at most": self.high, "below": self.below}
        return " and ".join(f"{words} {limit}" for words, limit in limits.items() if limit is not None)


@dataclass(frozen=True)
class _Option:
    """The command-line option of a field."""

    help: str
    flag: str | None
    within: Range | None
    choices: Sequence[str]
    parser: Callable[[str], Any] | None
    metavar: str | None
    panel: str | None


@dataclass(frozen=True)
class Prefix:
    """Annotates a group of settings that a command takes several times.

    `Annotated[Stage, Prefix("vae")]` makes `--vae-steps` from the field `steps`.
    """

    word: str


class Without:
    """Annotates a group of settings whose named fields get no option in a command: `Annotated[Loop, Without("rate")]`.

    A field without an option keeps its default. The names also apply to the groups inside the group.
    """

    def __init__(self, *names: str) -> None:
        self.names = frozenset(names)


def setting(
    default: Any = MISSING,
    *,
    help: str,  # noqa: A002 - Typer's own word
    flag: str | None = None,
    within: Range | None = None,
    choices: Sequence[str] = (),
    parser: Callable[[str], Any] | None = None,
    metavar: str | None = None,
    panel: str | None = None,
) -> Any:
    """Declare a field of a settings dataclass.

    Args:
        default: The field's default. Without one the option is required.
        help: The option's help: a noun or an imperative, with its unit.
        flag: The option's name if it is not the field's, for example "--n"; or several, for example "--steps --n".
        within: The allowed range. `check_settings` enforces it, and the help states it.
        choices: The allowed words, of a list those of its members. `check_settings` enforces them, and the help lists
            them.
        parser: Turns the option's text into the field's value.
        metavar: Placeholder for the value in the help.
        panel: Panel of the help, if it is not the PANEL of the dataclass.
    """
    option = _Option(help, flag, within, choices, parser, metavar, panel)
    return field(default=default, metadata={"option": option})


def check_settings(settings: Any, prefix: str = "") -> None:
    """Raise RequestError for the first field of a settings dataclass that is outside its declared range or choices."""
    for declared in fields(settings):
        value = getattr(settings, declared.name)
        if "option" not in declared.metadata or value is None:
            continue
        option: _Option = declared.metadata["option"]
        words = value if isinstance(value, list) else [value]
        if option.choices and (wrong := [word for word in words if word not in option.choices]):
            expected = f"one of {', '.join(option.choices)}"
            raise RequestError(
                _flag(declared, prefix), found=str(wrong[0]), expected=expected, fix="choose one of these"
            )
        if option.within is not None:
            check_within(_flag(declared, prefix), value, option.within)
        for word in words:
            if isinstance(word, int) and abs(word) > LARGEST:
                check_within(_flag(declared, prefix), word, Range(-LARGEST, LARGEST))


def check_within(flag: str, value: float, allowed: Range) -> None:
    """Raise RequestError that names the flag if the value is outside the range."""
    if value not in allowed:
        found = str(value)
        shown = found if len(found) <= 40 else f"{found[:37]}..."
        raise RequestError(flag, found=shown, expected=str(allowed), fix="change the value")


def expect_unset(given: Any, plain: Any, needed: str, why: str = "") -> None:
    """Raise RequestError for the first option that differs from `plain`, because what it applies to is not given."""
    for name, flag in flags_of(type(given)).items():
        if getattr(given, name) != getattr(plain, name):
            fix = f"add {needed}, or leave {flag} out"
            raise RequestError(flag, found=f"no {needed}", expected=f"{needed}{why}", fix=fix)


def parse_list(item: Callable[[str], Item], text: str) -> tuple[Item, ...]:
    """Return the items of a list such as "1,8,16", each read by `item`. Spaces beside the commas are ignored."""
    return tuple(item(word.strip()) for word in text.split(","))


def parse_each(words: Sequence[str] | None) -> list[str]:
    """Return the items of an option that may be repeated and whose values may be lists: "a,b" and "c" are a, b, c."""
    return [item for word in words or () for item in parse_list(str, word)]


def parse_numbers(flag: str, text: str) -> tuple[float, ...]:
    """Return the finite numbers in a list such as "1,2,1". Raises RequestError that names the flag."""
    try:
        numbers = parse_list(float, text)
    except ValueError:
        numbers = ()
    if not numbers or not all(map(math.isfinite, numbers)):
        raise RequestError(flag, found=text, expected="numbers separated by commas", fix="write, for example, 1,2,1")
    return numbers


def parse_whole_numbers(flag: str, text: str) -> tuple[int, ...]:
    """Return the numbers in a list such as "1,8,16". Raises RequestError that names the flag."""
    words = parse_list(str, text)
    # int() would also read signs, underscores and digits of other scripts, and refuses thousands of digits.
    if not all(re.fullmatch(r"0*[1-9][0-9]{0,17}", word) for word in words):
        expected = "whole numbers above 0, separated by commas"
        raise RequestError(flag, found=text, expected=expected, fix="write, for example, 1,8,16")
    return tuple(map(int, words))


def help_of(declared: Field[Any]) -> str:
    """Return the help of a field that is declared with `setting`, with its choices and its range."""
    option: _Option = declared.metadata["option"]
    words = option.help.rstrip(".")
    if option.choices:
        words += f". One of {', '.join(option.choices)}"
    if option.within is not None:
        words += f". Range: {option.within}"
    return f"{words}."


def flags_of(kind: type[Any]) -> dict[str, str]:
    """Return the option of each field of a settings dataclass by the field's name, such as "--steps"."""
    return {declared.name: _flag(declared, "") for declared in fields(kind) if "option" in declared.metadata}


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Return a Typer command in which each parameter that is a settings dataclass is replaced by its fields' options.

    The command receives the dataclass, which `check_settings` has checked. A default of the parameter, such as
    `Loop(steps=300)`, gives the options their defaults. The attribute PANEL of the dataclass names the panel of the
    help that shows its options.

    A dataclass may hold other settings dataclasses, whose options join in. A field that is declared without `setting`
    gets no option and keeps its default.
    """
    hints = get_type_hints(command, include_extras=True)
    parameters: list[inspect.Parameter] = []
    groups: dict[str, _Group] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        kind, prefix, without = _unwrap(hints[name])
        if not is_dataclass(kind):
            parameters.append(parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        assert isinstance(kind, type)
        groups[name] = _Group(kind, prefix, without, parameter.default)
        parameters += groups[name].parameters()

    @functools.wraps(command)
    def run(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group.take(values)
        command(**values)

    # Typer reads both the signature and the annotations.
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


@dataclass(frozen=True)
class _Group:
    """A settings dataclass as a command's parameter."""

    kind: type[Any]
    prefix: str
    without: frozenset[str]
    defaults: Any
    """The instance that gives the defaults, or inspect.Parameter.empty."""

    def parameters(self) -> list[inspect.Parameter]:
        """Return the options of the dataclass and of the groups inside it, as Typer reads them."""
        found: list[inspect.Parameter] = []
        hints = get_type_hints(self.kind)
        for declared, inside in self._fields():
            if inside is not None:
                found += inside.parameters()
                continue
            default = _default(declared, self.defaults)
            option = _typer_option(self.kind, declared, default)
            found.append(
                inspect.Parameter(
                    _name(declared, self.prefix),
                    inspect.Parameter.KEYWORD_ONLY,
                    default=default,
                    annotation=Annotated[_value_type(declared, hints[declared.name]), option],
                )
            )
        return found

    def take(self, values: dict[str, Any]) -> Any:
        """Build the dataclass from the values of its options, check it, and remove these values from `values`."""
        given = {
            declared.name: values.pop(_name(declared, self.prefix)) if inside is None else inside.take(values)
            for declared, inside in self._fields()
        }
        made = self.kind(**given) if self.defaults is inspect.Parameter.empty else replace(self.defaults, **given)
        check_settings(made, self.prefix)
        return made

    def _fields(self) -> Iterator[tuple[Field[Any], _Group | None]]:
        """Yield each field that has options: an option itself, or the group of options that it stands for."""
        hints = get_type_hints(self.kind, include_extras=True)
        for declared in fields(self.kind):
            kind, prefix, without = _unwrap(hints[declared.name])
            if "option" in declared.metadata:
                if declared.name not in self.without:
                    yield declared, None
            elif is_dataclass(kind):
                assert isinstance(kind, type)
                defaults = _default(declared, self.defaults)
                yield declared, _Group(kind, prefix or self.prefix, self.without | without, defaults)


def _unwrap(hint: Any) -> tuple[Any, str, frozenset[str]]:
    """Return the type behind an annotation, the word of its Prefix and the names of its Without."""
    if get_origin(hint) is not Annotated:
        return hint, "", frozenset()
    kind, *notes = get_args(hint)
    prefix = next((note.word for note in notes if isinstance(note, Prefix)), "")
    return kind, prefix, next((note.names for note in notes if isinstance(note, Without)), frozenset())


def _value_type(declared: Field[Any], hint: Any) -> Any:
    # Typer would take several words for a tuple. The text for a parser is always one word.
    return hint if declared.metadata["option"].parser is None else str


def _name(declared: Field[Any], prefix: str) -> str:
    return f"{prefix}_{declared.name}" if prefix else declared.name


def _default(declared: Field[Any], defaults: Any) -> Any:
    if defaults is not inspect.Parameter.empty:
        return getattr(defaults, declared.name)
    return inspect.Parameter.empty if declared.default is MISSING else declared.default


def _typer_option(kind: type[Any], declared: Field[Any], default: Any) -> Any:
    # The Python library declares settings too, and needs no command line.
    import typer
    from rich.markup import escape

    option: _Option = declared.metadata["option"]
    parsed = option.parser is not None and isinstance(default, tuple)
    return typer.Option(
        # Without a flag Typer derives the name from the field, with a --no- form for a bool.
        *([] if option.flag is None else option.flag.split()),
        # Typer's help would take words in square brackets for markup and lose them.
        help=escape(help_of(declared)),
        rich_help_panel=option.panel or getattr(kind, "PANEL", None),
        metavar=option.metavar,
        show_default=",".join(f"{value:g}" for value in default) if parsed else True,
        parser=None if option.parser is None else functools.partial(_parsed, option.parser),
    )


def _parsed(parser: Callable[[str], Any], value: Any) -> Any:
    # Click also passes defaults through the parser, although they are parsed already.
    return parser(value) if isinstance(value, str) else value


def _flag(declared: Field[Any], prefix: str) -> str:
    option: _Option = declared.metadata["option"]
    if option.flag is not None:
        return option.flag.split()[0]
    return "--" + "-".join([*([prefix] if prefix else []), declared.name.replace("_", "-")])
