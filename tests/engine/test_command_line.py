"""What every command line offers: -h, --version and help that keeps square brackets."""

from __future__ import annotations

import pytest

import engine


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
