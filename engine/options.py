"""Settings that are declared once: a frozen dataclass gives a command its options, their checks and the object to pass
on."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer

from engine.errors import RequestError

__all__ = ["Prefix", "check_settings", "setting", "with_options"]


@dataclass(frozen=True)
class _Option:
    """What a field says about its command-line option."""

    help: str
    flag: str | None
    low: float | None
    high: float | None
    choices: Sequence[str]
    parser: Callable[[str], Any] | None
    metavar: str | None


@dataclass(frozen=True)
class Prefix:
    """Annotates a group of settings that a command takes several times: `Annotated[Stage, Prefix("vae")]` makes
    `--vae-steps` from the field `steps`."""

    word: str


def setting(
    default: Any = MISSING,
    *,
    help: str,  # noqa: A002 - Typer's own word
    flag: str | None = None,
    low: float | None = None,
    high: float | None = None,
    choices: Sequence[str] = (),
    parser: Callable[[str], Any] | None = None,
    metavar: str | None = None,
) -> Any:
    """Declare a field of a settings dataclass.

    Args:
        default: The field's default. Without one the option is required.
        help: The option's help: a noun or an imperative, with its unit.
        flag: The option's name if it is not the field's, for example "--n".
        low, high: The smallest and the largest allowed value, both included. `check_settings` enforces them.
        choices: The allowed words. `check_settings` enforces them, and the help lists them.
        parser: Turns the option's text into the field's value.
        metavar: Placeholder for the value in the help.
    """
    return field(default=default, metadata={"option": _Option(help, flag, low, high, choices, parser, metavar)})


def check_settings(settings: Any, prefix: str = "") -> None:
    """Raise RequestError for the first field of a settings dataclass that is outside its declared range or choices."""
    for declared in fields(settings):
        option, value = declared.metadata["option"], getattr(settings, declared.name)
        if value is None:
            continue
        if option.choices and value not in option.choices:
            expected = f"one of {', '.join(option.choices)}"
            raise RequestError(_flag(declared, prefix), found=str(value), expected=expected, fix="choose one of these")
        if option.low is not None and not value >= option.low:
            _refuse(_flag(declared, prefix), value, option)
        if option.high is not None and not value <= option.high:
            _refuse(_flag(declared, prefix), value, option)


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Return a Typer command in which each parameter that is a settings dataclass is replaced by its fields' options.

    The command receives the dataclass. A default of the parameter, such as `Loop(steps=300)`, gives the options their
    defaults. The attribute PANEL of the dataclass names the panel of the help that shows its options.
    """
    hints = get_type_hints(command, include_extras=True)
    parameters: list[inspect.Parameter] = []
    groups: dict[str, tuple[type[Any], dict[str, str]]] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        kind, prefix = _unwrap(hints[name])
        if not is_dataclass(kind):
            parameters.append(parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        assert isinstance(kind, type)
        options = _parameters(kind, parameter.default, prefix)
        groups[name] = (
            kind,
            {option.name: declared.name for option, declared in zip(options, fields(kind), strict=True)},
        )
        parameters += options

    @functools.wraps(command)
    def run(**values: Any) -> None:
        for name, (kind, names) in groups.items():
            values[name] = kind(**{own: values.pop(option) for option, own in names.items()})
        command(**values)

    # Typer reads both.
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _unwrap(hint: Any) -> tuple[Any, str]:
    """Return the type behind an annotation, and the word of its Prefix."""
    if get_origin(hint) is not Annotated:
        return hint, ""
    kind, *notes = get_args(hint)
    return kind, next((note.word for note in notes if isinstance(note, Prefix)), "")


def _parameters(kind: type[Any], defaults: Any, prefix: str) -> list[inspect.Parameter]:
    hints = get_type_hints(kind)
    return [
        inspect.Parameter(
            _name(declared, prefix),
            inspect.Parameter.KEYWORD_ONLY,
            default=_default(declared, defaults),
            annotation=Annotated[_value_type(declared, hints[declared.name]), _typer_option(kind, declared, prefix)],
        )
        for declared in fields(kind)
    ]


def _value_type(declared: Field[Any], hint: Any) -> Any:
    # Typer would split a tuple over several words. Where a parser makes the value, the option is one word.
    return hint if declared.metadata["option"].parser is None else str


def _name(declared: Field[Any], prefix: str) -> str:
    return f"{prefix}_{declared.name}" if prefix else declared.name


def _default(declared: Field[Any], defaults: Any) -> Any:
    if defaults is not inspect.Parameter.empty:
        return getattr(defaults, declared.name)
    return inspect.Parameter.empty if declared.default is MISSING else declared.default


def _typer_option(kind: type[Any], declared: Field[Any], prefix: str) -> Any:
    option: _Option = declared.metadata["option"]
    words = [option.help.rstrip(".")]
    if option.choices:
        words.append(f": {', '.join(option.choices)}")
    return typer.Option(
        _flag(declared, prefix),
        help=f"{''.join(words)}.",
        rich_help_panel=getattr(kind, "PANEL", None),
        metavar=option.metavar,
        parser=None if option.parser is None else functools.partial(_parsed, option.parser),
    )


def _parsed(parser: Callable[[str], Any], value: Any) -> Any:
    # Click passes a default, which is parsed already, through the parser as well.
    return parser(value) if isinstance(value, str) else value


def _flag(declared: Field[Any], prefix: str) -> str:
    option: _Option = declared.metadata["option"]
    if option.flag is not None:
        return option.flag
    return "--" + "-".join([*([prefix] if prefix else []), declared.name.replace("_", "-")])


def _refuse(flag: str, value: float, option: _Option) -> None:
    found = str(value)
    shown = found if len(found) <= 40 else f"{found[:37]}..."
    if option.low is None or option.high is None:
        expected = f"at least {option.low}" if option.high is None else f"at most {option.high}"
    else:
        expected = f"{option.low} to {option.high}"
    raise RequestError(flag, found=shown, expected=expected, fix="change the value")
