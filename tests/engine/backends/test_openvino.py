"""The OpenVINO backend together with signals and threads."""

from __future__ import annotations

import subprocess
import sys

from tests.conftest import ROOT


def test_a_signal_after_models_were_closed_in_another_thread_is_survived(tiny_bundle):
    """If another thread destroyed OpenVINO's plugin, this thread would lose its signal stack."""
    script = f"""
import os, signal, threading
from engine import Engine
engine = Engine.open({str(tiny_bundle)!r}, backend="openvino")
heard, held = [], []
signal.signal(signal.SIGUSR1, lambda *_: heard.append(1))
def finish():
    held.pop().close()
for _ in range(3):
    held.append(engine.generate("cyt_mast", 9, num_inference_steps=1))
    next(held[0])
    thread = threading.Thread(target=finish)
    thread.start()
    thread.join()
    os.kill(os.getpid(), signal.SIGUSR1)
print("heard", len(heard))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout) == (0, "heard 3\n"), done.stderr
