"""Files of a training: an earlier one is resumed or replaced only on request."""

from __future__ import annotations

import pytest

from engine.errors import RequestError
from trainer.training.outputs import Outputs, OutputSettings


def write(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")


def test_an_earlier_training_is_neither_resumed_nor_replaced_by_accident(tmp_path):
    outputs = Outputs(tmp_path / "out", "cyst")
    outputs.check(OutputSettings())
    write(outputs.weights)
    with pytest.raises(RequestError, match="--resume"):
        outputs.check(OutputSettings())
    with pytest.raises(RequestError, match="its checkpoint, to resume"):
        outputs.check(OutputSettings(resume=True))
    outputs.check(OutputSettings(overwrite=True))
    write(outputs.checkpoints / "cyst.pt")
    outputs.check(OutputSettings(resume=True))
    write(tmp_path / "file")
    with pytest.raises(RequestError, match="a file"):
        Outputs(tmp_path / "file", "cyst").check(OutputSettings())


def test_removing_leaves_the_files_of_other_classes(tmp_path):
    for name in ("cyst", "cyst2"):
        outputs = Outputs(tmp_path, name)
        for path in (outputs.weights, outputs.record, outputs.snapshot(50), outputs.preview(50)):
            write(path)
        for path in (tmp_path / f"{name}.pt", outputs.checkpoints / f"{name}.csv", tmp_path / f"tensorboard/{name}/x"):
            write(path)
    Outputs(tmp_path, "cyst").remove()
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert len(left) == 7
    assert all("cyst2" in name for name in left)
