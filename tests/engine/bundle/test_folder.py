"""The files of a bundle are checked by size and SHA-256 before one is opened."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("name", ["unet.bin", "unet.cyt_mast.onnx", "context.cyt_mast.safetensors", "vae_decoder.bin"])
def test_a_changed_byte_is_found_before_anything_loads(name, in_process, bundle_copy, tmp_path):
    path = bundle_copy / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    done = in_process(
        "engine", "generate", "--bundle", bundle_copy, "--class", "cyt_mast", "--n", 1, "--out", tmp_path / "o"
    )
    assert done.returncode == 2
    for word in (str(path), "found:    SHA-256", "expected: SHA-256", "fix:"):
        assert word in done.stderr
    assert not (tmp_path / "o").exists()
    assert in_process("engine", "verify", bundle_copy).returncode == 2


def test_a_truncated_file_of_another_class_does_not_matter_to_this_one(in_process, bundle_copy, tmp_path):
    path = bundle_copy / "unet.cyt_nep_mast.bin"
    path.write_bytes(path.read_bytes()[:-1])
    arguments = ["--bundle", bundle_copy, "--n", 1]
    assert in_process("engine", "generate", *arguments, "--class", "cyt_mast", "--out", tmp_path / "a").returncode == 0
    done = in_process("engine", "generate", *arguments, "--class", "cyt_nep_mast", "--out", tmp_path / "b")
    assert done.returncode == 2
    assert "bytes" in done.stderr
    assert not (tmp_path / "b").exists()


def test_a_link_in_place_of_a_file_is_refused(bundle_copy, in_process):
    path = bundle_copy / "unet.bin"
    path.rename(bundle_copy / "elsewhere")
    path.symlink_to(bundle_copy / "elsewhere")
    done = in_process("engine", "verify", bundle_copy)
    assert done.returncode == 2
    assert "a link" in done.stderr
