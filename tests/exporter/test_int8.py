"""8-bit graphs: of the same weight files, near the float ones on two runtimes, chosen by --precision or a preset."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file, save_file

from engine.api.engine import Engine
from engine.backends.onnxruntime import ORTBackend
from engine.backends.openvino import OpenVINOBackend
from engine.backends.select import PROBES, settled
from engine.bundle.folder import open_bundle
from engine.bundle.job import make_job
from engine.bundle.settings import settings_of
from engine.pipeline.pipeline import Pipeline
from exporter.int8 import CALIBRATING, COMPARED, LIMITS, write_int8
from exporter.trajectory import FIRST_SEED

pytestmark = pytest.mark.slow

CLASS = "cyt_mast"


@pytest.fixture(scope="module")
def tiny_bundle(stochastic):
    """The tiny bundle with a decoder that draws grain: its 8-bit twin takes noise, too."""
    return stochastic / "bundle"


@pytest.fixture(scope="module")
def made(tiny_bundle, tmp_path_factory):
    """A bundle with 8-bit graphs, and what was said of them."""
    folder = shutil.copytree(tiny_bundle, tmp_path_factory.mktemp("int8") / "bundle")
    return folder, write_int8(open_bundle(str(folder)))


@pytest.fixture
def bundle_copy(bundle_copy):
    """A bundle of one class, because each UNet takes seconds."""
    path = bundle_copy / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["classes"] = {CLASS: manifest["classes"][CLASS]}
    path.write_text(json.dumps(manifest))
    return bundle_copy


@pytest.fixture
def with_int8(made):
    return open_bundle(str(made[0]))


def initializers(path):
    return {tensor.name: tensor for tensor in onnx.load(path, load_external_data=False).graph.initializer}


def pictures(bundle, backend, precision, n=4):
    job = make_job(bundle, [CLASS], n, settings_of(batch_size=n, backend="openvino", precision=precision, threads=1))
    with Pipeline(job, CLASS, backend) as pipeline:
        return pipeline.decode(pipeline.generate_latents(range(n)), range(n))[0].astype(float)


def psnr_db(found, wanted):
    return 10 * np.log10(255**2 / np.mean((found - wanted) ** 2))


def test_every_graph_has_a_valid_twin_of_the_same_weights(made, tiny_bundle):
    folder, found = made
    manifest = json.loads((folder / "manifest.json").read_text())
    twins = {entry["unet"]: entry["unet_int8"] for entry in manifest["classes"].values()}
    twins[manifest["decoder"][0]] = manifest["decoder_int8"]
    assert {quantised.graph for quantised in found.graphs} == set(twins.values())
    for plain, twin in twins.items():
        onnx.checker.check_model(folder / twin, full_check=True)
        places = [
            sorted(str(t.external_data) for t in initializers(folder / name).values() if t.external_data)
            for name in (plain, twin)
        ]
        assert places[0] == places[1]
        assert len(places[0]) > 10
    weights = {path.name for path in folder.glob("*.bin")}
    assert weights == {path.name for path in tiny_bundle.glob("*.bin")}
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_the_unets_that_have_8_bits_can_be_kept(made, tmp_path):
    """After a new decoder only the decoder is written again."""
    folder = shutil.copytree(made[0], tmp_path / "bundle")
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("unet*.int8.onnx")}
    found = write_int8(open_bundle(str(folder)), keep_unets=True, pictures=1)
    assert [written.graph for written in found.graphs] == ["vae_decoder.int8.onnx"]
    assert len(found.comparisons) == len(before)
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("unet*.int8.onnx")} == before
    assert len(before) > 1


def test_every_product_with_weights_takes_both_in_8_bits(made):
    graph = onnx.load(made[0] / "unet.cyt_mast.int8.onnx", load_external_data=False).graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    makers = {name: node.op_type for node in graph.node for name in node.output}
    products = [node for node in graph.node if node.op_type in ("Conv", "MatMul", "Gemm")]
    assert len(products) > 20
    plain = [node for node in products if makers.get(node.input[0]) != "DequantizeLinear"]
    shapes = [list(weights[node.input[1]].dims) for node in plain]
    assert shapes[0][2:] == shapes[-1][2:] == [3, 3]  # the first and the last convolution
    assert len(shapes) > 3
    assert all(shape[2:] == [1, 1] and shape[0] != shape[1] for shape in shapes[1:-1])  # shortcuts
    products = [node for node in products if node not in plain]
    assert all(makers[name] == "DequantizeLinear" for node in products for name in node.input[:2])
    taken = {name for node in products for name in node.input}
    restored = [node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"]
    assert set(restored) <= taken  # nothing else is rounded


def test_weights_are_rounded_to_one_scale_a_channel(made):
    """The largest weight of an output channel is 127 steps."""
    model = onnx.load(made[0] / "unet.cyt_mast.int8.onnx")
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    quantised = [n for n in model.graph.node if n.op_type == "QuantizeLinear" and n.input[0] in tensors]
    convolutions = [n for n in quantised if tensors[n.input[0]].ndim == 4]
    assert len(convolutions) > 5
    for node in convolutions:
        weights, scale, zero = (tensors[name] for name in node.input)
        assert (zero.dtype, zero.any()) == (np.int8, False)
        largest = np.abs(weights.astype(float)).reshape(len(weights), -1).max(1)
        np.testing.assert_allclose(scale.astype(float), largest / 127, rtol=0.01, atol=1e-6)


def test_both_runtimes_make_nearly_the_pictures_of_float32(with_int8):
    """Random weights spread errors more than trained ones do; the same noise still leads to the same picture."""
    wanted = pictures(with_int8, OpenVINOBackend(precision="f32", threads=1), "f32")
    openvino = pictures(with_int8, OpenVINOBackend(precision="int8", threads=1), "int8")
    onnxruntime = pictures(with_int8, ORTBackend(threads=1), "int8")
    for found in (openvino, onnxruntime):
        assert not np.array_equal(found, wanted)
        assert psnr_db(found, wanted) > 24
        assert psnr_db(found, wanted) > psnr_db(np.roll(wanted, 1, axis=0), wanted) + 6


def test_the_error_said_is_that_of_the_graphs(made):
    assert all(0 < quantised.error < LIMITS[quantised.output] for quantised in made[1].graphs)


def test_8_bits_are_compared_on_the_steps_and_pictures_of_every_class(made):
    """The pictures are those that the engine draws."""
    bundle = open_bundle(str(made[0]))
    found = {one.class_name: one for one in made[1].comparisons}
    assert set(found) == set(bundle.manifest.classes)
    sigmas = [row.sigma for row in make_job(bundle, [CLASS], 1, settings_of(backend="openvino")).plan.rows]
    for one in found.values():
        assert [sigma for sigma, _ in one.by_sigma] == sigmas
        assert all(0 < error < 1 for _, error in one.by_sigma)
    exact, rounded = ({}, {})
    for precision, drawn in (("f32", exact), ("int8", rounded)):
        backend = OpenVINOBackend(precision=precision, threads=1)
        settings = settings_of(batch_size=1, backend="openvino", precision=precision, shared_noise=True)
        with Pipeline(make_job(bundle, [CLASS], 1, settings), CLASS, backend) as pipeline:
            seeds = range(FIRST_SEED + CALIBRATING, FIRST_SEED + CALIBRATING + COMPARED)
            drawn["latents"] = np.concatenate([pipeline.generate_latents([seed]) for seed in seeds])
            images = [pipeline.decode(drawn["latents"][i : i + 1], [seed])[0] for i, seed in enumerate(seeds)]
            drawn["images"] = np.concatenate(images).astype(float)
    error = np.linalg.norm(rounded["latents"] - exact["latents"]) / np.linalg.norm(exact["latents"])
    assert found[CLASS].latents == pytest.approx(error, rel=0.02)
    assert found[CLASS].psnr_db == pytest.approx(psnr_db(rounded["images"], exact["images"]), abs=0.2)


def test_a_graph_that_is_too_far_off_is_not_written(bundle_copy, monkeypatch):
    before = {path.name: path.read_bytes() for path in bundle_copy.iterdir() if path.is_file()}
    monkeypatch.setitem(LIMITS, "images", 0.0)
    with pytest.raises(Exception, match="nothing was written"):
        write_int8(open_bundle(str(bundle_copy)))
    assert before == {path.name: path.read_bytes() for path in bundle_copy.iterdir() if path.is_file()}


def test_the_command_line_makes_and_takes_them(in_process, bundle_copy, tmp_path):
    generate = ["engine", "generate", "--bundle", bundle_copy, "--class", CLASS, "--n", 2]
    refused = in_process(*generate, "--out", tmp_path / "none", "--precision", "int8")
    assert refused.returncode == 2
    assert "no 8-bit graphs of the class cyt_mast" in refused.stderr
    assert "python -m exporter int8" in refused.stderr
    assert not (tmp_path / "none").exists()
    done = in_process("exporter", "int8", bundle_copy, "--pictures", 2)
    assert done.returncode == 0, done.stderr
    assert "unet.cyt_mast.int8.onnx: eps differs by 0." in done.stdout
    assert re.search(rf"{CLASS} +│ [\d.]+ +│ [\d.]+", done.stdout)
    assert "Look at the pictures" in done.stdout
    default = make_job(open_bundle(str(bundle_copy)), [CLASS], 1, settings_of(backend="openvino"))
    assert default.request.precision == "auto"
    preset = in_process("exporter", "preset", bundle_copy, "fast", "--steps", 5, "--precision", "int8")
    assert preset.returncode == 0, preset.stderr
    assert "5 steps, guidance 2, int8" in in_process("engine", "info", bundle_copy).stdout
    identities = []
    for name, options in {"preset": ["--preset", "fast"], "options": ["--steps", 5, "--precision", "int8"]}.items():
        made = in_process(*generate, "--out", tmp_path / name, *options)
        assert made.returncode == 0, made.stderr
        identities.append(json.loads((tmp_path / name / "run.json").read_text())["identity"])
    assert identities[0] == identities[1]
    assert identities[0]["precision"] == "int8"
    wanted, found = ((tmp_path / name / CLASS / "000000.png").read_bytes() for name in ("preset", "options"))
    assert wanted == found
    exact = in_process(*generate, "--out", tmp_path / "f32", "--preset", "fast", "--precision", "f32")
    assert exact.returncode == 0, exact.stderr
    assert json.loads((tmp_path / "f32/run.json").read_text())["identity"]["precision"] == "f32"


def test_verify_compares_them_with_torch(in_process, made, stochastic):
    done = in_process("exporter", "verify", made[0], "--merged", stochastic / "merged/cyt_mast", "--json")
    rows = {row["runtime"]: row for row in json.loads(done.stdout)["rows"]}
    (quantised,) = (row for name, row in rows.items() if "int8" in name)
    (exact,) = (row for name, row in rows.items() if name.endswith(" f32") and "int8" not in name)
    assert exact["passed"]
    assert quantised["psnr_db"] < exact["psnr_db"]
    assert quantised["limits"]["psnr_db"] < exact["limits"]["psnr_db"]


def test_a_class_whose_unet_changes_loses_its_8_bit_graph(in_process, with_int8, stochastic, tmp_path):
    """Exported anew as it was, the class keeps the graph."""
    folder = shutil.copytree(with_int8.folder, tmp_path / "bundle")
    merged = shutil.copytree(stochastic / "merged/cyt_mast", tmp_path / "merged")
    assert in_process("exporter", "onnx", merged, "--out", folder).returncode == 0
    assert open_bundle(str(folder)).manifest.classes[CLASS].unet_int8 == "unet.cyt_mast.int8.onnx"
    weights = merged / "unet/diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    save_file({name: 1.05 * value if "attn2.to_v" in name else value for name, value in tensors.items()}, weights)
    done = in_process("exporter", "onnx", merged, "--out", folder)
    assert done.returncode == 0, done.stderr
    bundle = open_bundle(str(folder))
    assert bundle.manifest.classes[CLASS].unet_int8 is None
    assert bundle.manifest.classes["cyt_nep_mast"].unet_int8 == "unet.cyt_nep_mast.int8.onnx"
    assert not (folder / "unet.cyt_mast.int8.onnx").exists()
    assert bundle.manifest.precisions == ("auto", "f32")
    bundle.verify(bundle.manifest.files)


def test_a_presets_int8_is_for_openvino_and_what_is_asked_is_taken(in_process, with_int8, monkeypatch, tmp_path):
    job = make_job(with_int8, [CLASS], 1, settings_of(backend="auto", precision="int8"))
    assert settled(job, "onnxruntime", None).request.precision == "auto"
    assert settled(job, "tensorrt", None).request.precision == "auto"
    assert settled(job, "onnxruntime", "int8").request.precision == "int8"
    assert settled(job, "openvino", None).request.precision == "int8"
    usable = replace(PROBES["onnxruntime"](), on_gpu=True)
    monkeypatch.setitem(PROBES, "onnxruntime", lambda: usable)
    options = ["--class", CLASS, "--n", 1, "--backend", "onnxruntime", "--precision", "int8", "--out", tmp_path / "out"]
    done = in_process("engine", "generate", "--bundle", with_int8.folder, *options)
    assert done.returncode == 2
    assert "--precision int8 is for the CPU" in done.stderr


def test_the_library_takes_a_presets_precision(in_process, with_int8, tmp_path):
    folder = shutil.copytree(with_int8.folder, tmp_path / "bundle")
    assert in_process("exporter", "preset", folder, "fast", "--steps", 3, "--precision", "int8").returncode == 0
    engine = Engine.open(str(folder), backend="openvino")
    assert engine.job(CLASS, 1, preset="fast").request.precision == "int8"
    assert engine.job(CLASS, 1).request.precision == "auto"
    assert (
        Engine.open(str(folder), backend="openvino", precision="f32").job(CLASS, 1, preset="fast").request.precision
        == "f32"
    )
