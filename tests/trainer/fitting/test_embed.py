"""`embed`: new words reach diffusers and the bundle, and resuming is exact."""

from __future__ import annotations

import json

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file

from tests.trainer.fitting.examples import SHORT
from trainer.base.base import encode_prompts, open_base
from trainer.hypernetwork.embeddings import add_words, read_embedding


@pytest.mark.slow
def test_textual_inversion_reaches_diffusers_and_the_bundle(in_process, whole_path, tmp_path):
    embed = ["embed", whole_path / "prepared/cyt_mast", "--base", whole_path / "base", "--out", tmp_path / "e"]
    options = [*SHORT, "--learning-rate", "0.05", "--class", "cyst", "--vectors", 2, "--initial-text", "cyt mast"]
    done = in_process("trainer", *embed, *options, "--origin", "phantom", "--webui", "--save-every", 5)
    assert done.returncode == 0, done.stderr
    assert "<cyst> <cyst_1>" in done.stdout
    embedding = read_embedding(tmp_path / "e/cyst.safetensors")
    assert embedding.vectors.shape == (2, 16)
    torch.testing.assert_close(read_embedding(tmp_path / "e/cyst.pt").vectors, embedding.vectors, rtol=0, atol=0)
    base = open_base(whole_path / "base")
    ids = base.tokenizer("cyt mast", add_special_tokens=False).input_ids
    start = base.text_encoder.get_input_embeddings().weight[ids]
    assert (embedding.vectors - start).abs().max() > 0.01
    assert "in prompts: <cyst> <cyst_1>" in in_process("trainer", "inspect", tmp_path / "e/cyst.safetensors").stdout

    hypernetwork = whole_path / "hypernetworks/cyt_mast.safetensors"
    merge = ["merge", hypernetwork, "--base", whole_path / "base", "--out", tmp_path / "merged"]
    done = in_process("trainer", *merge, "--embedding", tmp_path / "e/cyst.safetensors", "--class", "cyst")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "merged/class.json").read_text())["prompt"] == "<cyst> <cyst_1>"
    pipeline = StableDiffusionPipeline.from_pretrained(tmp_path / "merged", safety_checker=None, local_files_only=True)
    found = pipeline.encode_prompt("<cyst> <cyst_1>", "cpu", 1, False)[0]
    add_words(base, embedding)
    wanted = encode_prompts(base, ["<cyst> <cyst_1>"]).detach()
    torch.testing.assert_close(found.detach(), wanted, rtol=1e-5, atol=1e-6)
    plain = encode_prompts(base, ["cyt mast"]).detach()
    assert (wanted - plain).abs().max() > 1e-3
    done = in_process("exporter", "onnx", tmp_path / "merged", "--out", tmp_path / "bundle")
    assert done.returncode == 0, done.stderr
    stored = load_file(tmp_path / "bundle/context.cyst.safetensors")["cond"]
    torch.testing.assert_close(stored, wanted[0], rtol=1e-4, atol=1e-5)


def test_textual_inversion_resumes_to_the_same_bits_and_is_replaced_on_request(in_process, whole_path, tmp_path):
    def run(out, *options):
        embed = ["embed", whole_path / "prepared/cyt_mast", "--base", whole_path / "base", "--out", tmp_path / out]
        return in_process("trainer", *embed, *SHORT, "--latent-sampling", "random", "--class", "cyst", *options)

    assert run("whole", "--preview-every", 6).returncode == 0
    assert (tmp_path / "whole/previews/cyst-000012.png").exists()
    assert run("cut", "--steps", 7).returncode == 0
    assert run("cut").returncode == 2
    assert run("cut", "--resume").returncode == 0
    whole, cut = (read_embedding(tmp_path / f"{name}/cyst.safetensors").vectors for name in ("whole", "cut"))
    torch.testing.assert_close(cut, whole, rtol=0, atol=0)
    assert run("cut", "--overwrite", "--seed", 5).returncode == 0
    assert (read_embedding(tmp_path / "cut/cyst.safetensors").vectors != whole).any()
    # An embedding alone is a class too.
    merge = ["merge", "--base", whole_path / "base", "--embedding", tmp_path / "whole/cyst.safetensors"]
    done = in_process("trainer", *merge, "--out", tmp_path / "merged")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "merged/class.json").read_text())["prompt"] == "<cyst>"
    assert in_process("trainer", "merge", "--base", whole_path / "base", "--out", tmp_path / "none").returncode == 2
