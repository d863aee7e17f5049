"""The small decoder of a preset: torch's pictures on every runtime, for this preset alone; others are refused."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from engine.api.engine import Engine
from engine.backends.onnxruntime import ORTBackend
from engine.backends.openvino import OpenVINOBackend
from engine.bundle.folder import open_bundle
from engine.bundle.plans import all_graphs, graph_digest, wanted_graphs
from engine.errors import RequestError
from tests.exporter.distilled import distilled, table_of
from tests.exporter.small_decoders import SETTINGS, random_decoder, write_small_decoder
from tests.stochastic import GRID, random_refiner
from trainer.base.base import open_base
from trainer.base.refiner import REFINER_FILE, write_refiner

CLASS = "cyt_mast"
GRAPH, WEIGHTS = "preset.turbo.vae_decoder.onnx", "preset.turbo.vae_decoder.bin"
BACKENDS = {"onnxruntime": ORTBackend, "openvino": lambda: OpenVINOBackend(precision="f32", cached=False)}


@pytest.fixture(scope="module")
def parts(stochastic, tmp_path_factory):
    """The options of `exporter preset` behind the bundle and the name: merged folder, table and small decoder."""
    folder = tmp_path_factory.mktemp("parts")
    merged = distilled(stochastic / "merged" / CLASS, folder / CLASS)
    table = table_of(folder / "turbo.json", open_bundle(str(stochastic / "bundle")).manifest)
    return merged, "--table", table, "--decoder", write_small_decoder(folder / "small_decoder.safetensors")


@pytest.fixture(scope="module")
def turbo(stochastic, parts, in_process, tmp_path_factory):
    """The bundle whose decoder draws grain, with the preset turbo."""
    bundle = shutil.copytree(stochastic / "bundle", tmp_path_factory.mktemp("turbo") / "bundle")
    done = in_process("exporter", "preset", bundle, "turbo", *parts)
    assert done.returncode == 0, done.stderr
    return bundle


@pytest.fixture
def turbo_copy(turbo, tmp_path):
    return shutil.copytree(turbo, tmp_path / "turbo")


def manifest_of(bundle):
    return json.loads((bundle / "manifest.json").read_text())


def drawn(bundle, **settings):
    engine = Engine.open(str(bundle), backend="onnxruntime")
    (batch,) = engine.generate(CLASS, 2, batch_size=2, **settings)
    return batch.images


@pytest.mark.parametrize("backend", BACKENDS)
def test_its_graph_computes_the_small_decoder_and_the_refiner(backend, turbo, stochastic):
    base, rng = open_base(stochastic / "base"), np.random.default_rng(0)
    for rows, h, w in ((1, 8, 8), (3, 4, 6)):
        shapes = {"latents": (4, h, w), "noise": (base.refiner.settings.planes, 2 * h, 2 * w)}
        inputs = {name: rng.standard_normal((rows, *shape)).astype(np.float32) for name, shape in shapes.items()}
        signature = {name: value.shape for name, value in inputs.items()}
        model = BACKENDS[backend]().open(turbo / GRAPH, signature, ("images", "finite"))
        found = model.run(inputs)
        model.close()
        with torch.no_grad():
            z, noise = (torch.from_numpy(inputs[name]) for name in shapes)
            plain = torch.nn.functional.pixel_shuffle(random_decoder()(z), 2)
            refined = base.refiner.jpeg(base.refiner(plain, z, noise))
        wanted, without = ((255 * ((x + 1) / 2).clamp(0, 1)).byte().permute(0, 2, 3, 1) for x in (refined, plain))
        assert found["finite"].all()
        difference = np.abs(np.asarray(found["images"]).astype(int) - wanted.numpy())
        assert np.quantile(difference, 0.99) <= 2
        assert difference.mean() < 0.5
        assert difference.max() <= 8, "single coefficients lie between two steps"
        assert without.float().std() > 10, "the small decoder draws something"
        assert np.abs(found["images"] - without.numpy().astype(int)).mean() > 2, "the grain is visible"


def test_the_rest_of_the_bundle_stays_byte_for_byte(turbo, stochastic):
    before, after = manifest_of(stochastic / "bundle"), manifest_of(turbo)
    assert (before["format_version"], after["format_version"]) == (2, 4)
    assert after["files"].items() >= before["files"].items()
    new = after["files"].keys() - before["files"].keys()
    assert new == {"preset.turbo.bin", f"preset.turbo.{CLASS}.onnx", GRAPH, WEIGHTS}
    assert after["presets"]["turbo"]["decoder"] == [GRAPH, WEIGHTS]
    assert {**after, "format_version": 2, "files": before["files"], "presets": {}} == {**before, "presets": {}}
    bundle = open_bundle(str(turbo))
    bundle.verify(bundle.manifest.files)
    np.testing.assert_array_equal(drawn(turbo), drawn(stochastic / "bundle"))


def test_a_preset_without_it_draws_with_the_decoder_of_the_bundle(turbo_copy, parts, in_process):
    found = drawn(turbo_copy, preset="turbo")
    assert "UNets of its own, small decoder" in in_process("engine", "info", turbo_copy).stdout
    manifest = manifest_of(turbo_copy)
    del manifest["presets"]["turbo"]["decoder"]
    (turbo_copy / "manifest.json").write_text(json.dumps(manifest))
    assert np.abs(found.astype(int) - drawn(turbo_copy, preset="turbo")).mean() > 2
    # Its files leave the bundle with the preset.
    done = in_process("exporter", "preset", turbo_copy, "turbo", *parts[1:3])
    assert done.returncode == 0, done.stderr
    assert manifest_of(turbo_copy)["format_version"] == 2
    assert not list(turbo_copy.glob("preset.turbo.*"))


@pytest.mark.slow
def test_verify_compares_with_torch_through_it(turbo, parts, in_process):
    asked = ("exporter", "verify", turbo, "--merged", parts[0], "--json")
    done = in_process(*asked, "--preset", "turbo", *parts[3:])
    assert done.returncode == 0, done.stdout + done.stderr
    for options in (("--preset", "turbo"), parts[3:]):
        refused = in_process(*asked, *options)
        assert refused.returncode == 2
        assert "--decoder" in refused.stderr


def test_a_class_that_is_exported_again_leaves_it(turbo_copy, stochastic, in_process):
    before = manifest_of(turbo_copy)
    done = in_process("exporter", "onnx", stochastic / "merged" / CLASS, "--out", turbo_copy)
    assert done.returncode == 0, done.stderr
    after = manifest_of(turbo_copy)
    for field in ("presets", "format_version"):
        assert after[field] == before[field]
    assert all(after["files"][name] == before["files"][name] for name in (GRAPH, WEIGHTS))


def test_a_request_checks_and_plans_the_decoder_of_its_preset(turbo_copy):
    bundle = open_bundle(str(turbo_copy))
    of_preset, of_class = (wanted_graphs(bundle, [CLASS], encoder=True, preset=name) for name in ("turbo", None))
    assert of_preset[GRAPH] == (GRAPH, WEIGHTS)
    assert "vae_decoder.onnx" not in of_preset
    assert GRAPH not in of_class
    assert {GRAPH, "vae_decoder.onnx"} <= all_graphs(bundle).keys()
    digest = graph_digest(bundle, of_preset[GRAPH])
    assert digest != graph_digest(bundle, of_class["vae_decoder.onnx"])
    for name, preset, other in ((WEIGHTS, "turbo", None), ("vae_decoder.bin", None, "turbo")):
        content = (turbo_copy / name).read_bytes()
        (turbo_copy / name).write_bytes(bytes(len(content)))
        with pytest.raises(RequestError, match=name):
            bundle.verify_for([CLASS], preset)
        bundle.verify_for([CLASS], other)
        (turbo_copy / name).write_bytes(content)


def other_decoder(folder, parts):
    sizes = {"latent_channels": 8}
    path = write_small_decoder(folder / "a", random_decoder(**sizes), settings=json.dumps({**SETTINGS, **sizes}))
    return [*parts[:4], path]


def without_refiner(folder, parts):
    merged = shutil.copytree(parts[0], folder / "merged")
    (merged / REFINER_FILE).unlink()
    return [merged, *parts[1:]]


def other_refiner(**settings):
    def change(folder, parts):
        merged, refiner = shutil.copytree(parts[0], folder / "merged"), random_refiner(**settings)
        refiner.convs[1].weight.mul_(1.1)
        write_refiner(refiner, merged / REFINER_FILE)
        return [merged, *parts[1:]]

    return change


def other_steps(folder, parts):
    merged, refiner = shutil.copytree(parts[0], folder / "merged"), random_refiner(jpeg=GRID)
    refiner.jpeg.steps.add_(1)
    write_refiner(refiner, merged / REFINER_FILE)
    return [merged, *parts[1:]]


WRONG = {
    "--decoder": lambda folder, parts: parts[1:],
    "no merged folders": lambda folder, parts: parts[1:],
    "--decoder\n  found:    no --table": lambda folder, parts: parts[3:],
    "latent_channels": other_decoder,
    "absent": lambda folder, parts: [*parts[:4], folder / "absent.safetensors"],
    "decoder_noise\n  found:    none": without_refiner,
    "decoder_jpeg\n  found:    none": other_refiner(),
    "convs.1.weight\n  found:    other values": other_refiner(jpeg=GRID),
    "jpeg.steps\n  found:    other values": other_steps,
}


@pytest.mark.parametrize("words", WRONG)
def test_what_does_not_suit_the_bundle_changes_nothing(words, parts, stochastic, in_process, tmp_path):
    bundle = shutil.copytree(stochastic / "bundle", tmp_path / "bundle")
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    done = in_process("exporter", "preset", bundle, "turbo", *WRONG[words](tmp_path, parts))
    assert done.returncode == 2
    assert words in done.stderr
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before


def test_a_class_with_the_name_of_its_files_is_refused(turbo_copy, parts, in_process):
    manifest = manifest_of(turbo_copy)
    manifest["classes"]["vae_decoder"] = manifest["classes"]["cyt_nep_mast"]
    (turbo_copy / "manifest.json").write_text(json.dumps(manifest))
    done = in_process("exporter", "preset", turbo_copy, "other", *parts)
    assert done.returncode == 2
    assert "a class vae_decoder, whose UNet has the file name preset.other.vae_decoder.onnx" in done.stderr


@pytest.mark.slow
def test_its_8_bit_graph_is_written_and_rewritten(turbo_copy, in_process):
    manifest = manifest_of(turbo_copy)
    del manifest["classes"]["cyt_nep_mast"]
    (turbo_copy / "manifest.json").write_text(json.dumps(manifest))
    exact = drawn(turbo_copy, preset="turbo").astype(float)
    done = in_process("exporter", "int8", turbo_copy, "--pictures", 2)
    assert done.returncode == 0, done.stderr
    name = GRAPH.replace(".onnx", ".int8.onnx")
    assert f"{name}: images differs by " in done.stdout
    assert manifest_of(turbo_copy)["presets"]["turbo"]["decoder_int8"] == name
    bundle = open_bundle(str(turbo_copy))
    assert bundle.manifest.graphs(CLASS, "int8", "turbo") == (f"preset.turbo.{CLASS}.int8.onnx", name)
    bundle.verify(bundle.manifest.files)
    engine = Engine.open(str(turbo_copy), backend="openvino", precision="int8")
    (batch,) = engine.generate(CLASS, 2, batch_size=2, preset="turbo")
    error = np.sqrt(np.mean((batch.images - exact) ** 2))
    assert 0 < error < 16
    before = {path.name: path.stat().st_mtime_ns for path in turbo_copy.glob("*.int8.onnx")}
    done = in_process("exporter", "int8", turbo_copy, "--pictures", 1, "--keep-unets")
    assert done.returncode == 0, done.stderr
    written = {path.name for path in turbo_copy.glob("*.int8.onnx") if path.stat().st_mtime_ns != before[path.name]}
    assert written == {name, "vae_decoder.int8.onnx"}


@pytest.mark.slow
def test_a_plan_of_it_has_the_batches_of_a_decoder(turbo_copy, in_process):
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    asked = ("exporter", "tensorrt", turbo_copy, "--class", CLASS, "--gpu", "sm86", "--batch", 2, "--preset", "turbo")
    done = in_process(*asked)
    assert done.returncode == 0, done.stderr
    (folder,) = (turbo_copy / "plans").iterdir()
    plans = json.loads((folder / "plan.json").read_text())["plans"]
    assert GRAPH in plans
    assert "vae_decoder.onnx" not in plans
    found = json.loads(in_process("exporter", "inspect", folder / plans[GRAPH]["file"], "--json").stdout)
    assert found["profile"]["latents"] == [[1, 4, 8, 8], [2, 4, 8, 8], [2, 4, 8, 8]]
    assert "stale" not in in_process("exporter", "plans", "list", turbo_copy).stdout
