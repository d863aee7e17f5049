"""What every command line offers: -h, --version and help that keeps square brackets."""

from __future__ import annotations

import subprocess
import sys

import pytest

import engine
from recipes.site.command_lines import command_of


@pytest.mark.parametrize("part", ["engine", "trainer", "exporter", "evaluate", "benchmarks"])
def test_every_part_has_a_short_help_and_a_version(part, in_process):
    shown, long = in_process(part, "-h"), in_process(part, "--help")
    assert (shown.returncode, shown.stdout) == (0, long.stdout)
    version = in_process(part, "--version")
    assert (version.returncode, version.stdout) == (0, f"cytosynth {engine.__version__}\n")


def test_the_help_of_a_command_keeps_square_brackets(in_process):
    done = in_process("trainer", "fit", "-h")
    assert "[name]" in done.stdout
    assert "[filewords]" in done.stdout
    assert "--lr" in done.stdout


def test_engine_offers_shell_completion(in_process):
    assert "--install-completion" in in_process("engine", "-h").stdout


@pytest.mark.parametrize("part", ["engine", "trainer", "evaluate"])
def test_the_list_of_commands_shows_the_help_of_each_without_importing_it(part):
    shown = f"from engine.command_line import typer; from {part}.cli.app import app; import sys\n"
    shown += "group = typer.main.get_command(app)\n"
    shown += "print([(name, one.help) for name, one in group.commands.items()])\n"
    shown += f"print([name for name in sys.modules if name == 'numpy' or name.startswith('{part}.cli.')])"
    done = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True)
    listed, loaded = done.stdout.splitlines()
    commands = command_of(part).commands
    assert listed == str([(name, command.help) for name, command in commands.items()])
    assert len(commands) > 10
    assert all(command.help for command in commands.values())
    assert loaded == f"['{part}.cli.app']"


def test_a_command_that_is_imported_late_keeps_its_errors_and_its_own_help(in_process):
    assert in_process("engine", "generate", "--nothing").returncode == 2
    wrong = in_process("engine", "generat")
    assert wrong.returncode == 2
    assert "'generate'" in wrong.stderr
    assert "Run the same command again" in " ".join(in_process("engine", "generate", "-h").stdout.split())
