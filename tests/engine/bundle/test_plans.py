"""Plans of TensorRT are chosen by their key and refused if they do not fit."""

from __future__ import annotations

import json

import pytest

from engine.backends.tensorrt import TensorRTBackend
from engine.bundle.folder import open_bundle
from engine.errors import RequestError
from engine.pipeline.pipeline import Pipeline
from tests.engine.backends.fake_tensorrt import make_api
from tests.engine.plans import job_of, open_backend, write_plans

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"version": "1.6.0"}, "version 1.6.0, here 1.7.1"),
        ({"compute_capability": "8.9"}, "compute_capability 8.9, here 8.6"),
        ({"flavour": "tensorrt"}, "flavour tensorrt, here rtx"),
        ({"plans": {}}, "no plan for unet.cyt_mast.onnx"),
    ],
)
def test_a_plan_with_another_key_is_refused_with_the_command_that_builds_it(changes, word, bundle_copy):
    write_plans(bundle_copy, **changes)
    with pytest.raises(RequestError, match=r"exporter tensorrt .* --gpu sm86 --flavour rtx") as caught:
        open_backend(bundle_copy)
    assert word in str(caught.value)


def test_plans_of_a_class_that_was_exported_again_are_refused(bundle_copy):
    write_plans(bundle_copy)
    manifest = json.loads((bundle_copy / "manifest.json").read_text())
    manifest["files"]["unet.cyt_mast.bin"]["sha256"] = "0" * 64
    (bundle_copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RequestError, match=r"unet\.cyt_mast\.onnx has changed since"):
        open_backend(bundle_copy)
    open_backend(bundle_copy, "cyt_nep_mast")


def test_no_plans_at_all_say_how_to_build_them(tiny_bundle):
    with pytest.raises(RequestError, match="found:    none"):
        open_backend(tiny_bundle)


def test_a_damaged_plan_is_refused_before_tensorrt_reads_it(bundle_copy):
    target = write_plans(bundle_copy)
    (target / "unet.cyt_mast.onnx.plan").write_bytes(b"garbage")
    bundle = open_bundle(str(bundle_copy))
    with pytest.raises(RequestError, match="SHA-256"):
        Pipeline(job_of(bundle), "cyt_mast", open_backend(bundle_copy))


@pytest.mark.parametrize("sizes", [[], [0], [1e999], [True], ["8"], 3])
def test_batch_sizes_that_are_none_are_refused(sizes, bundle_copy):
    write_plans(bundle_copy, batch_sizes=sizes)
    with pytest.raises(RequestError, match=r"plan\.json"):
        open_backend(bundle_copy)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"plans": {"a": {"file": "../x", "sha256": "0", "bytes": 1, "graph_sha256": "0"}}}', "{}"]
)
def test_a_plan_json_that_is_none_is_refused(text, bundle_copy):
    (write_plans(bundle_copy) / "plan.json").write_text(text)
    with pytest.raises(RequestError, match=r"plan\.json"):
        open_backend(bundle_copy)


@pytest.mark.parametrize(
    ("options", "found", "build"),
    [
        ({"batch_size": 9}, "batch sizes 1 to 8, requested 9", "--batch 9 --size 32x32"),
        ({"width": 64}, "32x32 pixels, requested 64x32", "--batch 2 --size 64x32"),
    ],
)
def test_a_batch_or_size_that_the_plan_was_not_built_for_is_refused(options, found, build, bundle_copy):
    write_plans(bundle_copy)
    bundle = open_bundle(str(bundle_copy))
    with pytest.raises(RequestError) as caught:
        TensorRTBackend(job_of(bundle, **options), make_api())
    assert found in str(caught.value)
    assert build in str(caught.value)
    assert "use --batch-size 1 to 8 with --width 32 --height 32, for which there are plans" in str(caught.value)
