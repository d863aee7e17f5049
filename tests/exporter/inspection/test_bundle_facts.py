"""Sizes of a bundle, of its classes, and of what they share."""

from __future__ import annotations

from engine.bundle.folder import open_bundle
from exporter.inspection.bundle_facts import ClassFacts, bundle_facts
from tests.conftest import ROOT


def test_the_sizes_add_up_to_the_files(tiny_bundle):
    facts = bundle_facts(open_bundle(str(tiny_bundle)))
    sizes = {path.name: path.stat().st_size for path in tiny_bundle.iterdir() if path.name != "manifest.json"}
    assert facts.size_bytes == sum(sizes.values())
    assert {graph.file for graph in facts.graphs} == {name for name in sizes if name.endswith(".onnx")}
    own = sum(size for name, size in sizes.items() if ".cyt_mast." in name)
    assert facts.classes[0] == ClassFacts("cyt_mast", "unet.cyt_mast.onnx", own, sizes["unet.bin"], 0)
    assert facts.shared_bytes == sizes["unet.bin"]
    assert facts.without_sharing_bytes == facts.size_bytes + sizes["unet.bin"]
    assert facts.plans == ()


def test_classes_that_use_one_unet_own_neither_its_graph_nor_its_weights():
    facts = {one.name: one for one in bundle_facts(open_bundle(str(ROOT / "engine/bundles/cells"))).classes}
    assert facts["neutrophil"].unet == facts["lymphocyte"].unet
    assert facts["neutrophil"].own_bytes < 100_000
    assert facts["neutrophil"].own_bytes + facts["neutrophil"].shared_bytes > 17e6
