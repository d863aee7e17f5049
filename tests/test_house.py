"""Limits that keep the code readable, and a test file for every module, in the mirrored folder."""

from __future__ import annotations

import ast
import subprocess

from tests.conftest import LONG_FILES, ROOT

MAX_FILE_LINES = 350
MAX_FUNCTION_LINES = 70
MAX_PARAMETERS = 8
SOURCES = (".py", ".h", ".cpp", ".sh")
PARTS = ("engine", "trainer", "exporter", "evaluate", "benchmarks", "recipes")
DECLARATIONS = "declarations only"
OF_SCRIPTS = "tests/benchmarks/test_arguments.py"
"""Runs the command line of every script of benchmarks and recipes; most scripts then compute for hours."""
TESTED_ELSEWHERE = {
    "benchmarks/gpu/models.py": "tests/benchmarks/scripts/test_gpu_check.py",
    "benchmarks/gpu/settings.py": "tests/benchmarks/scripts/test_gpu_check.py",
    "benchmarks/gpu/systems.py": "tests/benchmarks/gpu/test_comparison.py",
    "benchmarks/original_layout.py": "tests/trainer/base/test_stable_diffusion.py",
    "benchmarks/pages/front_page.py": "tests/benchmarks/pages/test_page.py",
    "benchmarks/pages/gpu_page.py": "tests/benchmarks/scripts/test_gpu_check.py",
    "benchmarks/pages/markdown_page.py": "tests/benchmarks/pages/test_page.py",
    "benchmarks/pages/peers_page.py": "tests/benchmarks/peers/test_engine.py",
    "benchmarks/pages/published.py": DECLARATIONS,
    "benchmarks/pages/scale_page.py": "tests/benchmarks/scripts/test_scale.py",
    "benchmarks/peers/diffusers.py": "tests/benchmarks/test_systems.py",
    "benchmarks/peers/diffusers_pipeline.py": "tests/benchmarks/test_systems.py",
    "benchmarks/peers/onnxruntime.py": "tests/benchmarks/test_systems.py",
    "benchmarks/peers/peer.py": DECLARATIONS,
    "benchmarks/peers/stable_diffusion_cpp_process.py": "tests/benchmarks/peers/test_stable_diffusion_cpp.py",
    "benchmarks/settings.py": DECLARATIONS,
    "engine/backends/rewrites.py": "tests/benchmarks/scripts/test_rewrites.py",
    "engine/bundle/model_files.py": "tests/engine/bundle/test_manifest.py",
    "engine/bundle/tables.py": "tests/engine/bundle/test_presets.py",
    "engine/cli/bundle.py": "tests/engine/cli/test_app.py",
    "engine/cli/doctor.py": "tests/engine/cli/test_app.py",
    "engine/cli/folders.py": "tests/engine/cli/test_app.py",
    "engine/cli/options.py": "tests/engine/cli/test_app.py",
    "engine/cli/settings.py": DECLARATIONS,
    "engine/pipeline/device_calls.py": "tests/engine/pipeline/test_loops.py",
    "engine/pipeline/device_loop.py": "tests/engine/pipeline/test_loops.py",
    "engine/progress.py": DECLARATIONS,
    "engine/sampling/multistep.py": "tests/engine/sampling/test_samplers.py",
    "engine/sampling/single_step.py": "tests/engine/sampling/test_samplers.py",
    "engine/sampling/stages.py": "tests/engine/sampling/test_samplers.py",
    "engine/sampling/stochastic.py": "tests/engine/sampling/test_samplers.py",
    "engine/serve/settings.py": DECLARATIONS,
    "engine/serve/page/results.py": "tests/engine/serve/page/test_generate.py",
    "evaluate/cli/options.py": "tests/evaluate/cli/test_score.py",
    "exporter/cli/eight_bits.py": "tests/exporter/test_int8.py",
    "exporter/cli/options.py": DECLARATIONS,
    "exporter/network_files.py": "tests/exporter/test_small_decoder.py",
    "exporter/residuals.py": "tests/trainer/adapters/test_merge.py",
    "exporter/staging.py": "tests/exporter/test_onnx_bundle.py",
    "recipes/preset_of_bundle.py": "tests/recipes/test_base_of_bundle.py",
    "trainer/adapting/settings.py": DECLARATIONS,
    "trainer/base/finite.py": "tests/trainer/base/test_base.py",
    "trainer/base/network_files.py": "tests/trainer/base/test_small_decoder.py",
    "trainer/base/presets.py": DECLARATIONS,
    "trainer/base/torch_files.py": "tests/trainer/hypernetwork/test_files.py",
    "trainer/checkpoints/settings.py": "tests/trainer/checkpoints/test_merge.py",
    "trainer/cli/adapting.py": "tests/trainer/adapting/test_adapt.py",
    "trainer/cli/distillation.py": "tests/trainer/distillation/test_distill.py",
    "trainer/cli/likelihood.py": "tests/trainer/likelihood/test_measure.py",
    "trainer/cli/options.py": DECLARATIONS,
    "trainer/cli/pictures.py": "tests/trainer/pictures/test_prepare.py",
    "trainer/cli/pretraining.py": "tests/trainer/pretraining/test_pretrain.py",
    "trainer/cli/tables.py": "tests/trainer/tables/test_learn.py",
    "trainer/adapters/kinds.py": "tests/trainer/adapters/test_describe.py",
    "trainer/adapters/merged.py": "tests/trainer/likelihood/test_measure.py",
    "trainer/distillation/distilled.py": "tests/trainer/distillation/test_match.py",
    "trainer/distillation/drawing.py": "tests/trainer/distillation/test_shrink.py",
    "trainer/distillation/photographs.py": "tests/trainer/distillation/test_match.py",
    "trainer/distillation/settings.py": DECLARATIONS,
    "trainer/distillation/student.py": "tests/trainer/distillation/test_distill.py",
    "trainer/likelihood/settings.py": DECLARATIONS,
    "trainer/tables/parameters.py": "tests/trainer/tables/test_learn.py",
    "trainer/tables/settings.py": DECLARATIONS,
    "trainer/tables/teacher.py": "tests/trainer/distillation/test_distill.py",
    "trainer/training/weights_file.py": "tests/trainer/hypernetwork/test_files.py",
}
"""Modules without a test file of their name: the file that tests them, or why there is nothing to test."""


def tracked(*endings):
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    return [ROOT / name for name in names if name.endswith(endings) and (ROOT / name).is_file()]


def functions(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", node


def test_no_file_is_too_long():
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in tracked(*SOURCES)}
    assert len(lines) > 200
    assert [f"{path.relative_to(ROOT)}: {count}" for path, count in lines.items() if count > MAX_FILE_LINES] == []


def test_no_function_is_too_long():
    found = [(name, node.end_lineno - node.lineno + 1) for path in tracked(".py") for name, node in functions(path)]
    assert len(found) > 1000
    assert [f"{name}: {count}" for name, count in found if count > MAX_FUNCTION_LINES] == []


def test_no_signature_has_too_many_parameters():
    found = []
    for path in tracked(".py"):
        for name, node in functions(path):
            names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            found.append((name, len([word for word in names if word not in ("self", "cls")])))
    assert [f"{name}: {count}" for name, count in found if count > MAX_PARAMETERS] == []


def test_no_test_changes_where_python_looks_for_modules():
    """A test that needs a stand-in puts it into `sys.modules`; the search path is that of a user's process."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in tracked(".py")
        if path.is_relative_to(ROOT / "tests")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and (node.attr == "syspath_prepend" or ast.unparse(node) == "sys.path")
    ]
    assert found == []


def test_the_files_that_start_first_exist():
    assert [name for name in LONG_FILES if not (ROOT / name).is_file()] == []


def modules():
    """Return the modules of all parts, as paths in the repository."""
    found = (path.relative_to(ROOT) for path in tracked(".py"))
    return [path for path in found if path.parts[0] in PARTS and not path.name.startswith("__")]


def mirrored(module):
    """Return the path of a module's test file."""
    return ROOT / "tests" / module.with_name(f"test_{module.name}")


def is_script(module):
    return module.parts[0] in PARTS[-2:] and "if __name__ ==" in (ROOT / module).read_text(encoding="utf-8")


def test_every_module_has_a_test_file_of_its_name_in_the_mirrored_folder():
    without = [path for path in modules() if not mirrored(path).is_file() and not is_script(path)]
    assert {str(path) for path in without} == TESTED_ELSEWHERE.keys()
    named = {*TESTED_ELSEWHERE.values(), OF_SCRIPTS} - {DECLARATIONS}
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_every_test_file_of_a_part_has_its_module():
    tested = {mirrored(path) for path in modules()}
    found = [path for part in PARTS for path in (ROOT / "tests" / part).rglob("test_*.py")]
    assert len(found) > 150
    assert [str(path.relative_to(ROOT)) for path in found if path not in tested] == []
