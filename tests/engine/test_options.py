"""Options that come from settings: names, defaults, panels, ranges, and the object that the command receives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import pytest
import typer
from typer.testing import CliRunner

from engine.errors import RequestError
from engine.options import (
    Prefix,
    Range,
    Without,
    check_settings,
    flags_of,
    parse_list,
    parse_numbers,
    parse_whole_numbers,
    setting,
    with_options,
)


@dataclass(frozen=True)
class Loop:
    PANEL: ClassVar[str] = "Training"

    steps: int = setting(10, help="Training steps.", within=Range(low=1, high=100))
    rate: tuple[float, ...] = setting(
        (1.0, 0.5), help="Rates.", parser=lambda text: tuple(map(float, text.split(":"))), metavar="RATE"
    )
    clipping: str = setting("off", help="Gradient clipping.", choices=("off", "norm"))
    fast: bool = setting(False, help="Skip what is slow.")
    wanted: int | None = setting(None, help="Pictures per class.", flag="--n")


@dataclass(frozen=True)
class Network:
    PANEL: ClassVar[str] = "Network"

    width: int = setting(8, help="Width.")
    share: float = setting(0.5, help="Share of the width.", within=Range(low=0, below=1))
    factor: float = setting(2.0, help="Factor.", within=Range(above=0))
    momentum: float = 0.9


@dataclass(frozen=True)
class Whole:
    loop: Loop = Loop()
    network: Annotated[Network, Without("share")] = Network(share=0.25)


def run(*words, defaults=None):
    seen = []
    app = typer.Typer()

    if defaults is None:

        @app.command()
        @with_options
        def command(name: str, loop: Loop) -> None:
            seen.append((name, loop))
    else:

        @app.command()
        @with_options
        def command_with_defaults(name: str, loop: Loop = defaults) -> None:
            seen.append((name, loop))

    done = CliRunner().invoke(app, list(words), env={"COLUMNS": "200"})
    return done, seen


def test_a_command_receives_its_settings_as_one_object():
    done, seen = run("cell", "--steps", "3", "--rate", "1:2", "--fast", "--n", "7")
    assert done.exit_code == 0, done.output
    assert seen == [("cell", Loop(3, (1.0, 2.0), "off", True, 7))]


def test_the_parameters_default_gives_the_options_their_defaults():
    assert run("cell", defaults=Loop(steps=42))[1] == [("cell", Loop(steps=42))]
    assert run("cell")[1] == [("cell", Loop())]


def test_help_shows_the_panel_the_default_the_choices_and_the_range():
    text = run("--help")[0].output
    assert "Training" in text
    assert "[default: 10]" in text
    assert "[default: (1,0.5)]" in text
    assert "Gradient clipping. One of off, norm." in text
    assert "Training steps. Range: 1 to 100." in text


def test_a_command_does_not_start_with_a_value_outside_its_range():
    done, seen = run("cell", "--steps", "0")
    assert isinstance(done.exception, RequestError)
    assert (done.exception.subject, done.exception.found, seen) == ("--steps", "0", [])


def test_a_prefix_lets_a_command_take_a_group_twice():
    seen = []
    app = typer.Typer()

    @app.command()
    @with_options
    def command(vae: Annotated[Loop, Prefix("vae")], unet: Annotated[Loop, Prefix("unet")] = Loop(steps=5)) -> None:
        seen.append((vae.steps, unet.steps))

    done = CliRunner().invoke(app, ["--vae-steps", "2"])
    assert (done.exit_code, seen) == (0, [(2, 5)]), done.output
    refused = CliRunner().invoke(app, ["--vae-steps", "0"])
    assert "--vae-steps" in str(refused.exception)


def receive_whole(*words):
    seen = []
    app = typer.Typer()

    @app.command()
    @with_options
    def command(whole: Annotated[Whole, Without("clipping")] = Whole(Loop(steps=5, clipping="norm"))) -> None:
        seen.append(whole)

    return CliRunner().invoke(app, list(words), env={"COLUMNS": "200"}), seen


def test_groups_may_hold_groups_and_a_command_may_lack_some_of_their_options():
    done, seen = receive_whole("--width", "3", "--no-fast")
    assert (done.exit_code, seen) == (0, [Whole(Loop(steps=5, clipping="norm"), Network(3, 0.25))]), done.output
    help_text = receive_whole("--help")[0].output
    assert "Network" in help_text
    for absent in ("--clipping", "--share", "--momentum"):
        assert absent not in help_text
        assert receive_whole(absent, "1")[0].exit_code == 2


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Network(share=1), ["--share", "found:    1", "expected: at least 0 and below 1"]),
        (Network(share=float("nan")), ["--share", "found:    nan"]),
        (Network(factor=0), ["--factor", "expected: above 0"]),
        (Loop(steps=0), ["--steps", "found:    0", "expected: 1 to 100"]),
        (Loop(clipping="maybe"), ["--clipping", "found:    maybe", "expected: one of off, norm"]),
    ],
)
def test_values_outside_their_range_are_refused(settings, words):
    with pytest.raises(RequestError) as caught:
        check_settings(settings)
    for word in words:
        assert word in str(caught.value)


def test_a_prefix_is_part_of_the_name_in_errors():
    with pytest.raises(RequestError, match="--vae-steps"):
        check_settings(Loop(steps=0), "vae")


def test_choices_hold_for_every_member_of_a_list():
    @dataclass(frozen=True)
    class Chosen:
        part: list[str] | None = setting(None, help="Part.", choices=("step", "decode"))

    for allowed in (None, [], ["step", "decode"]):
        check_settings(Chosen(allowed))
    with pytest.raises(RequestError, match="--part") as caught:
        check_settings(Chosen(["step", "encode"]))
    assert caught.value.found == "encode"


def test_lists_are_separated_by_commas():
    assert parse_list(str.upper, "a, b,c") == ("A", "B", "C")
    assert parse_numbers("--widths", "1, 0.5,-2e3") == (1, 0.5, -2000)
    assert parse_whole_numbers("--batch", "8, 1,8") == (8, 1, 8)


@pytest.mark.parametrize("text", ["", ",", "1,", "1,x", "nan", "1,inf"])
def test_what_is_no_list_of_numbers_is_refused(text):
    for parse in (parse_numbers, parse_whole_numbers):
        with pytest.raises(RequestError, match="--widths"):
            parse("--widths", text)


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "1_0", "\u00b2", "9" * 5000])
def test_what_is_no_list_of_whole_numbers_is_refused(text):
    with pytest.raises(RequestError, match="above 0"):
        parse_whole_numbers("--batch", text)


def test_the_options_of_a_group_are_known_by_its_fields():
    assert flags_of(Loop) == {
        "steps": "--steps",
        "rate": "--rate",
        "clipping": "--clipping",
        "fast": "--fast",
        "wanted": "--n",
    }
    assert flags_of(Network) == {"width": "--width", "share": "--share", "factor": "--factor"}
