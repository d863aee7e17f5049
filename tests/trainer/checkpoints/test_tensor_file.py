"""Files of tensors: the library reads what is written, and hostile files are refused."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from engine.errors import CytosynthError, RequestError
from trainer.checkpoints.tensor_file import Entry, bytes_of, open_tensor_file, write_tensors

TENSORS = {
    "wide": torch.arange(6, dtype=torch.int64).reshape(2, 3),
    "number": torch.tensor(2.5),
    "brain": torch.tensor([1.5, -2.0]).bfloat16(),
    "eight": torch.tensor([0.5]).to(torch.float8_e4m3fn),
    "half": torch.ones(3).half(),
    "truth": torch.tensor([True, False]),
    "empty": torch.empty(0, 4),
}


def test_the_library_reads_what_is_written_and_we_read_what_it_writes(tmp_path):
    path, metadata = tmp_path / "own.safetensors", {"word": "Größe"}
    layout = {name: Entry(tensor.dtype, tuple(tensor.shape)) for name, tensor in TENSORS.items()}
    write_tensors(path, layout, metadata, TENSORS.__getitem__)
    assert path.stat().st_size == bytes_of(layout, metadata)
    with safe_open(path, framework="pt") as opened:
        assert opened.metadata() == metadata
    save_file(TENSORS, tmp_path / "library.safetensors", metadata)
    library = open_tensor_file(tmp_path / "library.safetensors")
    assert library.metadata == metadata
    for name, tensor in TENSORS.items():
        for found in (load_file(path)[name], library.read(name)):
            assert (found.dtype, found.shape) == (tensor.dtype, tensor.shape)
            assert torch.equal(found.float(), tensor.float())


def header_of(said, content=b""):
    text = json.dumps(said).encode()
    return len(text).to_bytes(8, "little") + text + content


F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
HOSTILE = {
    "empty": b"",
    "short": b"\x08\0\0",
    "a huge header": (2**60).to_bytes(8, "little") + b"{}",
    "a header beyond its end": (1000).to_bytes(8, "little") + b"{}",
    "no JSON": header_of({})[:8] + b"xx",
    "a list": header_of([]),
    "truncated": header_of({"model.a": F32}, b"\0" * 7),
    "longer than it says": header_of({"model.a": F32}, b"\0" * 9),
    "another size than the shape's": header_of({"model.a": {**F32, "shape": [2**62, 2**62]}}, b"\0" * 8),
    "overlapping": header_of({"model.a": F32, "model.b": F32}, b"\0" * 8),
    "a negative place": header_of({"model.a": {**F32, "data_offsets": [-8, 0]}}),
    "an unknown type": header_of({"model.a": {**F32, "dtype": "F128"}}, b"\0" * 8),
    "a type that is not read": header_of({"model.a": {**F32, "dtype": "U32"}}, b"\0" * 8),
    "a pickle": b"\x80\x02}q\0.",
    "deep": (20_000).to_bytes(8, "little") + b"[" * 20_000,
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused(tmp_path, case):
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(HOSTILE[case])
    with pytest.raises(RequestError, match=r"The checkpoint hostile\.safetensors"):
        open_tensor_file(path)


def test_a_file_that_shrinks_while_it_is_read_is_an_error(tmp_path):
    path = tmp_path / "shrinks.safetensors"
    save_file({"model.a": torch.ones(100)}, path)
    opened = open_tensor_file(path)
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(CytosynthError, match="390 of 400 bytes"):
        opened.read("model.a")
