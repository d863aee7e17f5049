"""The stock of plans: which are stale or foreign, and what a removal leaves."""

from __future__ import annotations

import json

import pytest

from engine.bundle.folder import open_bundle
from engine.errors import RequestError
from exporter.plans.stock import Machine, Removed, remove_keys, remove_stale, stored_folders
from tests.engine.plans import write_plans

HERE = Machine("8.6", {"rtx": "1.7.1"})
KEY = "sm86-rtx-1.7.1-b8"


@pytest.fixture
def bundle(bundle_copy):
    write_plans(bundle_copy)
    return open_bundle(str(bundle_copy))


def only(bundle, machine=HERE, thorough=True):
    (found,) = stored_folders(bundle, machine, thorough=thorough)
    return found


def exported_again(bundle):
    """Change the weights that only the class cyt_mast uses."""
    path = bundle.folder / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"]["unet.cyt_mast.bin"]["sha256"] = "0" * 64
    path.write_text(json.dumps(manifest))
    return open_bundle(str(bundle.folder))


def test_plans_that_fit_have_no_problems(bundle):
    found = only(bundle)
    assert (found.key, found.problems, found.foreign) == (KEY, (), None)
    folder = bundle.folder / "plans" / KEY
    assert found.size_bytes == sum(path.stat().st_size for path in folder.iterdir())
    assert {plan.graph for plan in found.plans} >= {"unet.cyt_mast.onnx", "vae_decoder.onnx", "step.onnx"}
    assert remove_stale(bundle, HERE) == []


@pytest.mark.parametrize(
    ("machine", "stale", "foreign"),
    [
        (Machine(None, {"rtx": "1.7.1"}), None, None),
        (Machine("8.9", {"rtx": "1.7.1"}), None, "built for compute capability 8.6, this machine has 8.9"),
        (Machine("8.6", {"tensorrt": "10.1"}), None, "needs tensorrt_rtx, which is not installed"),
        (Machine("8.6", {"rtx": "1.8"}), "built by rtx 1.7.1, and 1.8 is installed", None),
    ],
)
def test_a_folder_is_stale_or_foreign_by_its_key(machine, stale, foreign, bundle):
    found = only(bundle, machine)
    assert (found.stale, found.foreign) == (stale, foreign)
    assert bool(remove_stale(bundle, machine)) == bool(stale)
    assert (bundle.folder / "plans" / KEY).exists() != bool(stale)


def test_only_the_plans_of_changed_graphs_are_removed(bundle):
    folder = bundle.folder / "plans" / KEY
    (folder / "unet.cyt_mast.onnx.report.json").write_text("{}")
    (folder / "x.plan.part").write_bytes(b"cut off")
    changed = exported_again(bundle)
    found = only(changed)
    assert found.problems == (
        "unet.cyt_mast.onnx: the graph or its weights have changed since the plan was built",
        "x.plan.part belongs to no plan",
    )
    size = (folder / "unet.cyt_mast.onnx.plan").stat().st_size
    assert remove_stale(changed, HERE) == [Removed(KEY, False, ("unet.cyt_mast.onnx",), size + 2 + 7)]
    assert only(changed).problems == ()
    assert "unet.cyt_nep_mast.onnx" in {plan.graph for plan in only(changed).plans}
    assert not [path for path in folder.iterdir() if path.name.startswith(("unet.cyt_mast", "x"))]


@pytest.mark.parametrize(
    ("damage", "thorough", "words"),
    [
        (lambda plan: plan.write_bytes(b"x" * plan.stat().st_size), True, "another hash"),
        (lambda plan: plan.write_bytes(b"x" * plan.stat().st_size), False, None),
        (lambda plan: plan.write_bytes(b"x"), False, "1 bytes instead of"),
        (lambda plan: plan.unlink(), False, "the plan is missing"),
    ],
)
def test_a_damaged_plan_is_stale_and_its_hash_is_compared_only_if_asked(damage, thorough, words, bundle):
    damage(bundle.folder / "plans" / KEY / "step.onnx.plan")
    problems = only(bundle, thorough=thorough).problems
    assert len(problems) == (words is not None)
    assert all("step.onnx" in one and words in one for one in problems)


@pytest.mark.parametrize(("text", "why"), [("{", "plan.json is unreadable"), (None, "no plan.json")])
def test_a_folder_without_a_record_is_stale(text, why, bundle):
    record = bundle.folder / "plans" / KEY / "plan.json"
    record.write_text(text) if text else record.unlink()
    assert only(bundle).stale.startswith(why)
    (removed,) = remove_stale(bundle, HERE)
    assert removed.whole
    assert stored_folders(bundle, HERE, thorough=False) == []


def test_folders_are_removed_by_key_and_an_unknown_key_removes_nothing(bundle):
    with pytest.raises(RequestError, match=rf"expected: one of {KEY}"):
        remove_keys(bundle, [KEY, "../.."], HERE)
    size = only(bundle).size_bytes
    (removed,) = remove_keys(bundle, [KEY], HERE)
    assert (removed.whole, removed.freed_bytes) == (True, size)
    assert list((bundle.folder / "plans").iterdir()) == []
    with pytest.raises(RequestError, match="a bundle with plans"):
        remove_keys(bundle, [KEY], HERE)
