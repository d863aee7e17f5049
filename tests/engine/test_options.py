"""Options that come from settings: names, defaults, panels, ranges, and the object that the command receives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import pytest
import typer
from typer.testing import CliRunner

from engine.errors import RequestError
from engine.options import Prefix, check_settings, setting, with_options


@dataclass(frozen=True)
class Loop:
    PANEL: ClassVar[str] = "Training"

    steps: int = setting(10, help="Training steps.", low=1, high=100)
    rate: tuple[float, ...] = setting(
        (1.0,), help="Rates.", parser=lambda text: tuple(map(float, text.split(":"))), metavar="RATE"
    )
    clipping: str = setting("off", help="Gradient clipping.", choices=("off", "norm"))
    fast: bool = setting(False, help="Skip what is slow.")
    wanted: int | None = setting(None, help="Pictures per class.", flag="--n")


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


def test_help_shows_the_panel_the_default_and_the_choices():
    text = run("--help")[0].output
    assert "Training" in text
    assert "[default: 10]" in text
    assert "Gradient clipping: off, norm." in text


def test_a_prefix_lets_a_command_take_a_group_twice():
    seen = []
    app = typer.Typer()

    @app.command()
    @with_options
    def command(vae: Annotated[Loop, Prefix("vae")], unet: Annotated[Loop, Prefix("unet")] = Loop(steps=5)) -> None:
        seen.append((vae.steps, unet.steps))

    done = CliRunner().invoke(app, ["--vae-steps", "2"])
    assert (done.exit_code, seen) == (0, [(2, 5)]), done.output


@pytest.mark.parametrize(
    ("settings", "words"),
    [
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
