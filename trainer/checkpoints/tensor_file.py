"""Files of tensors (safetensors) that are read and written one tensor at a time.

The library safetensors writes only what is in memory all at once, and its mapped file counts as memory. A checkpoint
has gigabytes, so the parts of the format that concern places in the file are here. The library checks each header.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from engine.errors import CytosynthError, RequestError, first_line

__all__ = ["SUFFIX", "Entry", "TensorFile", "bytes_of", "open_tensor_file", "write_tensors"]

SUFFIX = ".safetensors"
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""The format's names of types, as https://github.com/huggingface/safetensors lists them."""
NAMES = {dtype: name for name, dtype in DTYPES.items()}
LENGTH_BYTES = 8
"""The file starts with the length of its header: an unsigned number, little-endian."""
OLD_NAMES = {
    f"cond_stage_model.transformer.{part}.": f"cond_stage_model.transformer.text_model.{part}."
    for part in ("embeddings", "encoder", "final_layer_norm")
}
"""Starts of names of old checkpoints of Stable Diffusion 1, and the current ones. AUTOMATIC1111's WebUI reads both."""


@dataclass(frozen=True)
class Entry:
    """What a file, or a file to write, states of a tensor: its type, its shape, and its first byte in the file."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    offset: int = 0

    @property
    def bytes(self) -> int:
        """The size of the tensor."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class TensorFile:
    """A file whose header was read and checked."""

    path: Path
    entries: dict[str, Entry]
    """The tensors by their names, in the order of the file."""
    metadata: dict[str, str]

    def read(self, name: str) -> torch.Tensor:
        """Return a tensor in the type of the file. Raises CytosynthError if the file has changed."""
        entry = self.entries[name]
        content = bytearray(entry.bytes)
        with self.path.open("rb") as file:
            file.seek(entry.offset)
            # One read may return less than what is asked for, because the system limits it to 2 GiB.
            view, done = memoryview(content), 0
            while done < entry.bytes and (count := file.readinto(view[done:])):
                done += count
        if done < entry.bytes:
            raise CytosynthError(
                f"The file {self.path.name}",
                found=f"{name} ends after {done} of {entry.bytes} bytes",
                expected="a file that does not change while it is read",
                fix="run the command again when the file is complete",
            )
        if not content:
            return torch.empty(entry.shape, dtype=entry.dtype)
        return torch.frombuffer(content, dtype=entry.dtype).reshape(entry.shape)


def open_tensor_file(path: Path, subject: str = "The checkpoint") -> TensorFile:
    """Return the header of a file. Raises RequestError for a file that is no whole safetensors file.

    subject: what the file should be, as the first words of an error.
    """
    try:
        # This checks the length of the header, its JSON, and that the tensors fill the file without gaps.
        with safe_open(path, framework="pt") as opened:
            names = set(opened.keys())
        with path.open("rb") as file:
            length = int.from_bytes(file.read(LENGTH_BYTES), "little")
            header = json.loads(file.read(length))
        metadata = header.pop("__metadata__", None) or {}
        entries = {
            name: Entry(DTYPES[said["dtype"]], tuple(said["shape"]), LENGTH_BYTES + length + said["data_offsets"][0])
            for name, said in sorted(header.items(), key=lambda item: item[1]["data_offsets"])
        }
    except KeyError as error:
        raise _unreadable(path, subject, f"the type {error.args[0]}") from error
    except (OSError, ValueError, RecursionError, SafetensorError) as error:
        raise _unreadable(path, subject, f"unreadable ({first_line(error)})") from error
    if names != entries.keys():
        raise _unreadable(path, subject, "unreadable (a name stands twice in the header)")
    return TensorFile(path, _renamed(entries), metadata)


def _unreadable(path: Path, subject: str, found: str) -> RequestError:
    return RequestError(
        f"{subject} {path.name}",
        found=found,
        expected="a complete safetensors file",
        fix="get the file again, and check its size",
    )


def _renamed(entries: dict[str, Entry]) -> dict[str, Entry]:
    renamed = {}
    for name, entry in entries.items():
        old = next((start for start in OLD_NAMES if name.startswith(start)), "")
        renamed[OLD_NAMES[old] + name.removeprefix(old) if old else name] = entry
    return renamed


def bytes_of(layout: Mapping[str, Entry], metadata: Mapping[str, str]) -> int:
    """Return the size in bytes of the file that `write_tensors` writes."""
    return len(_header(layout, metadata)) + sum(entry.bytes for entry in layout.values())


def write_tensors(
    path: Path, layout: Mapping[str, Entry], metadata: Mapping[str, str], tensor_of: Callable[[str], torch.Tensor]
) -> None:
    """Write a file, one tensor at a time.

    Args:
        path: The file. If it exists, it is replaced.
        layout: Type and shape of each tensor.
        metadata: Texts for the header.
        tensor_of: Returns the tensor of a name, of the stated type and shape.
    """
    with path.open("wb") as file:
        file.write(_header(layout, metadata))
        for name in _in_order(layout):
            tensor = tensor_of(name).contiguous()
            assert (tensor.dtype, tuple(tensor.shape)) == (layout[name].dtype, layout[name].shape), name
            if tensor.numel():
                # NumPy has no bfloat16, so the bytes are written.
                file.write(tensor.reshape(-1).view(torch.uint8).numpy().data)


def _in_order(layout: Mapping[str, Entry]) -> list[str]:
    """Return the names with wide types first, so that each tensor begins at a multiple of its width."""
    return sorted(layout, key=lambda name: (-layout[name].dtype.itemsize, name))


def _header(layout: Mapping[str, Entry], metadata: Mapping[str, str]) -> bytes:
    said: dict[str, object] = {"__metadata__": dict(metadata)}
    place = 0
    for name in _in_order(layout):
        entry = layout[name]
        offsets = [place, place + entry.bytes]
        said[name] = {"dtype": NAMES[entry.dtype], "shape": list(entry.shape), "data_offsets": offsets}
        place += entry.bytes
    text = json.dumps(said, separators=(",", ":")).encode()
    text += b" " * (-len(text) % LENGTH_BYTES)
    return len(text).to_bytes(LENGTH_BYTES, "little") + text
