"""Facts of a plan. tests/exporter/plans/test_building.py inspects plans that TensorRT built."""

from __future__ import annotations

import hashlib
import json

import pytest

from engine.errors import RequestError
from exporter.inspection.graph_facts import LayerKind, TensorFacts
from exporter.inspection.plan_facts import plan_facts

REPORT = {
    "inputs": [{"name": "x", "shape": [-1, 4], "dtype": "float"}],
    "outputs": [{"name": "y", "shape": [-1, 4], "dtype": "float"}],
    "layers": [
        {"name": "a", "type": "CAST", "dtypes": ["half"]},
        {"name": "b", "type": "UNARY", "dtypes": ["half"]},
        {"name": "c", "type": "CAST", "dtypes": ["float"]},
    ],
    "profile": {"x": [[1, 4], [2, 4], [8, 4]]},
    "seconds": 1.5,
    "engine_layers": {"Layers": ["fused"]},
}


@pytest.fixture
def plan(tmp_path):
    content = b"a plan"
    entry = {"file": "x.onnx.plan", "sha256": hashlib.sha256(content).hexdigest(), "bytes": 6, "graph_sha256": "0" * 64}
    key = {"flavour": "rtx", "version": "1.7", "compute_capability": "8.6", "batch_sizes": [1, 4]}
    record = {"format_version": 1, **key, "width": 8, "height": 8, "plans": {"x.onnx": entry}}
    (tmp_path / "plan.json").write_text(json.dumps(record))
    (tmp_path / "x.onnx.report.json").write_text(json.dumps(REPORT))
    (tmp_path / "x.onnx.plan").write_bytes(content)
    return tmp_path / "x.onnx.plan"


def test_the_key_comes_from_the_folder_and_the_rest_from_the_report(plan):
    facts = plan_facts(plan)
    assert (facts.flavour, facts.version, facts.compute_capability) == ("rtx", "1.7", "8.6")
    assert facts.inputs == (TensorFacts("x", "float32", ("free", 4)),)
    assert facts.layers == (LayerKind("cast", 2, ("float16", "float32")), LayerKind("unary", 1, ("float16",)))
    assert facts.profile == {"x": ((1, 4), (2, 4), (8, 4))}
    assert (facts.size_bytes, facts.gpu_layers) == (6, 1)


def test_a_changed_plan_a_foreign_plan_and_a_missing_report_are_refused(plan):
    plan.with_name("y.plan").write_bytes(b"mine")
    with pytest.raises(RequestError, match=r"no entry in plan\.json"):
        plan_facts(plan.with_name("y.plan"))
    report = plan.with_name("x.onnx.report.json")
    report.unlink()
    with pytest.raises(RequestError, match=r"The report .*x\.onnx\.report\.json"):
        plan_facts(plan)
    plan.write_bytes(b"other!")
    with pytest.raises(RequestError, match="SHA-256"):
        plan_facts(plan)
