"""The command line as a whole: fast help with panels."""

from __future__ import annotations

import subprocess
import sys

from trainer.cli.app import COMMANDS


def test_the_command_line_does_not_import_torch_before_a_command_runs():
    modules = {place.partition(":")[0] for place in COMMANDS.values()}
    code = f"import sys, {', '.join(modules)}; print('torch' in sys.modules, 'diffusers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_help_shows_options_in_panels(in_process):
    shown = in_process("trainer", "fit", "--help").stdout
    for panel in ("Class record", "Training", "Optimiser", "Network structure", "Latents and captions", "Output"):
        assert f" {panel} " in shown
    assert " Hardware " in shown
    assert "--prompt" in shown
    assert "--no-symmetries" in shown
    assert "[default: 1e-05]" in shown
    shown = in_process("trainer", "embed", "--help").stdout
    assert "--prompt" not in shown
    assert "[default: 0.005]" in shown
    assert "--vae-learning-rate" in in_process("trainer", "pretrain", "--help").stdout
