"""The OpenVINO backend together with signals, threads and the cache of compiled graphs."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import openvino as ov
import pytest

from engine.backends import openvino
from engine.backends.openvino import OpenVINOBackend
from engine.cache import HEADER_BYTES, read_cached, write_cached
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


@pytest.fixture
def decode(tiny_bundle, tmp_path, monkeypatch):
    """Open the decoder with this thread count and return its picture of fixed latents, (2, H, W, 3) uint8."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    latents = np.random.default_rng(0).standard_normal((2, 4, 8, 8)).astype(np.float32)

    def run(threads=1, precision="f32"):
        backend = OpenVINOBackend(precision=precision, threads=threads)
        model = backend.open(tiny_bundle / "vae_decoder.onnx", {"latents": latents.shape}, ("images", "finite"))
        return model.run({"latents": latents})["images"]

    return run


def cached_graphs(tmp_path):
    return sorted((tmp_path / "cache/cytosynth/openvino").iterdir())


def test_a_run_that_compiles_a_graph_runs_what_later_runs_take_from_the_cache(decode, tmp_path, monkeypatch):
    """A freshly compiled graph may differ from its exported form, so that form is what every run imports."""
    imported = []
    import_model = ov.Core.import_model
    monkeypatch.setattr(
        ov.Core,
        "import_model",
        lambda self, blob, *rest: imported.append(blob.data.tobytes()) or import_model(self, blob, *rest),
    )
    first = decode()
    [kept] = cached_graphs(tmp_path)
    exported = kept.read_bytes()
    assert (decode() == first).all()
    assert imported == [exported[HEADER_BYTES:]] * 2
    assert kept.read_bytes() == exported


def test_a_damaged_graph_of_the_right_size_is_compiled_again(decode, tmp_path):
    first = decode()
    [kept] = cached_graphs(tmp_path)
    damaged = bytearray(kept.read_bytes())
    for place in range(len(damaged) // 2, len(damaged) // 2 + 4000):
        damaged[place] ^= 0x11
    kept.write_bytes(damaged)
    assert read_cached(kept) is None
    assert (decode() == first).all()
    assert read_cached(kept) is not None


def test_an_intact_file_that_openvino_refuses_is_compiled_again(decode, tmp_path):
    first = decode()
    [kept] = cached_graphs(tmp_path)
    write_cached(kept, b"of another build")
    assert (decode() == first).all()


def test_another_precision_thread_count_or_kernel_choice_has_its_own_graph(decode, tmp_path, monkeypatch):
    for count, settings in enumerate(({}, {"precision": "auto"}, {"threads": 2}), 1):
        decode(**settings)
        assert len(cached_graphs(tmp_path)) == count
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")
    decode()
    assert len(cached_graphs(tmp_path)) == 4


def test_without_a_cache_the_picture_is_the_same(decode, tmp_path, monkeypatch):
    first = decode()
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert (decode() == first).all()


def test_a_graph_with_large_weights_is_not_kept(decode, tiny_bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(openvino, "MOST_KEPT", (tiny_bundle / "vae_decoder.bin").stat().st_size - 1)
    first = decode()
    assert not (tmp_path / "cache").exists()
    assert (decode() == first).all()


def test_the_weights_of_a_graph_are_part_of_its_key(decode, bundle_copy, tmp_path):
    decode()
    weights = bundle_copy / "vae_decoder.bin"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    OpenVINOBackend(precision="f32", threads=1).open(
        bundle_copy / "vae_decoder.onnx", {"latents": (2, 4, 8, 8)}, ("images", "finite")
    )
    assert len(cached_graphs(tmp_path)) == 2


def test_a_cached_graph_is_opened_without_reading_it(decode, monkeypatch):
    first, read = decode(), []
    read_model = ov.Core.read_model
    monkeypatch.setattr(ov.Core, "read_model", lambda self, path: read.append(path) or read_model(self, path))
    assert (decode() == first).all()
    assert read == []
    decode(threads=2)
    assert len(read) == 1


def test_threads_may_ask_for_the_types_of_ports_at_once():
    """Without a call before the threads, each of eight such processes waited for ever."""
    code = """
import sys, threading
import openvino as ov
from engine.backends.openvino import the_core
the_core()
sys.setswitchinterval(1e-6)
barrier = threading.Barrier(8)
threads = [threading.Thread(target=lambda: (barrier.wait(), ov.Type.f32.to_dtype()), daemon=True) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join(20)
sys.exit(any(thread.is_alive() for thread in threads))
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=120, check=False).returncode == 0
