"""The comparison on a GPU: rehearsed on the processor, shown on the page, and announced on a machine without a GPU."""

from __future__ import annotations

import json
import sys

import pytest
import torch

from benchmarks.gpu import comparison
from benchmarks.gpu.models import Models
from benchmarks.gpu.settings import REHEARSED_BATCHES, SYSTEMS
from benchmarks.pages.gpu_page import GPU_RECORD, gpu
from benchmarks.pages.markdown_page import Page
from benchmarks.scripts import gpu_check
from engine.bundle.folder import open_bundle
from exporter.load import load_merged


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["gpu_check", *map(str, arguments)])
    gpu_check.main()


def check(record):
    """Check the record of a rehearsal, and that the page shows it."""
    found = json.loads(record.read_text())
    assert found["rehearsal"]
    assert found["machine"]["cores"] > 0
    # Profiles of several batch sizes have other shapes than those of one.
    assert {(row["part"], row["batch_size"]) for row in found["compared"]} == {
        (part, size) for part in ("step", "decode") for size in REHEARSED_BATCHES
    }
    ran = {"diffusers float32", "diffusers float16", "diffusers float16 compiled", "onnxruntime CUDA"}
    for row in found["compared"]:
        assert row["refused"] == {}
        assert ran <= {*row["seconds"]}, row["not_measured"]
        assert {*row["seconds"], *row["not_measured"]} == {"diffusers float32", *SYSTEMS}
        assert "TensorRT plans" in row["not_measured"]["TensorRT plan"]
    page = Page(record.parent, record.parent / "page.md", {GPU_RECORD: "make gpu-check"})
    gpu(page)
    page.finish()
    text = (record.parent / "page.md").read_text()
    for words in (
        "rehearsal",
        "| 1 | onnxruntime CUDA |",
        "| 2 | onnxruntime CUDA |",
        "of the norm",
        " dB |",
        "reference",
    ):
        assert words in text


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_rehearsal_measures_every_system_of_a_processor(whole_path, tiny_bundle, monkeypatch, tmp_path):
    """The graphs are those of the tiny bundle, because an export takes long."""
    merged = load_merged(whole_path / "merged/cyt_mast")
    tokens = open_bundle(str(tiny_bundle)).manifest.context_shape[0]
    models = Models(merged.unet, merged.vae, merged.unet.config.sample_size, tokens)
    graphs = {"step": tiny_bundle / "unet.cyt_mast.onnx", "decode": tiny_bundle / "vae_decoder.onnx"}
    monkeypatch.setattr(comparison, "tiny_models", lambda: models)
    monkeypatch.setattr(comparison, "export_graphs", lambda models, folder: graphs)
    monkeypatch.setattr(comparison, "MODULES", {})  # no plans, which would go beside the graphs
    run(monkeypatch, tmp_path / GPU_RECORD, "--rehearse", "--minutes", "60")  # a busy machine
    check(tmp_path / GPU_RECORD)


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore")
def test_a_rehearsal_runs_all_of_it(monkeypatch, tmp_path):
    run(monkeypatch, tmp_path / GPU_RECORD, "--rehearse", "--minutes", "60")  # a busy machine
    check(tmp_path / GPU_RECORD)
    assert json.loads((tmp_path / GPU_RECORD).read_text())["plans"]["flavour"] == "rtx"


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu_it_says_what_it_would_measure(monkeypatch, tmp_path, capsys):
    run(monkeypatch, tmp_path / "gpu.json")
    printed = capsys.readouterr().out
    assert all(name in printed for name in SYSTEMS)
    assert "12 minutes" in printed
    assert list(tmp_path.iterdir()) == []
