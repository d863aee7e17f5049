"""Build the TensorRT plans of a bundle into one folder.

TensorRT for RTX builds plans without a GPU. TensorRT builds them on the GPU itself.
"""

from __future__ import annotations

import errno
import hashlib
import importlib
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.backends.tensorrt import MODULES
from engine.bundle.folder import Bundle
from engine.bundle.plans import FORMAT_VERSION, Plan, all_graphs, graph_digest, read_plan_folder, wanted_graphs
from engine.errors import CytosynthError, RequestError
from engine.files import replace_file, write_json
from engine.locks import locked_folder
from engine.pipeline.encoder import decode_batch_size
from engine.progress import StageProgress, silent_stages
from exporter.plans.builder import REPORT, Profile, build_graph, gpu_here

__all__ = ["PlanRequest", "build_plans", "load_tensorrt"]

SPACE_FACTOR = 1.5
"""Required free space relative to the size of the weights, for the finished plans and the unfinished one."""


@dataclass(frozen=True)
class PlanRequest:
    """What plans are built for. A plan runs every batch size from the smallest to the largest of `batch_sizes`."""

    compute_capability: str
    flavour: str
    batch_sizes: tuple[int, ...]
    width: int
    height: int
    refit: bool = False

    def folder_name(self, version: str) -> str:
        """Return the folder's name in `plans/`: GPU, flavour, version and shapes."""
        gpu = f"sm{self.compute_capability.replace('.', '')}"
        batches = "-".join(map(str, self.batch_sizes))
        kind = "-refit" if self.refit else ""
        return f"{gpu}-{self.flavour}-{version}-b{batches}-{self.width}x{self.height}{kind}"


def load_tensorrt(flavour: str) -> Any:
    """Return the module of a flavour. Raises RequestError if it is not installed."""
    try:
        return importlib.import_module(MODULES[flavour])
    except Exception as error:  # bindings without their libraries fail in many ways
        raise RequestError(
            f"--flavour {flavour}",
            found=f"{MODULES[flavour]} cannot be imported ({error})",
            expected="TensorRT for RTX" if flavour == "rtx" else "TensorRT",
            fix=f"pip install 'cytosynth[{flavour}]'",
        ) from error


def build_plans(
    bundle: Bundle,
    class_names: Sequence[str],
    request: PlanRequest,
    progress: StageProgress = silent_stages,
    *,
    preset: str | None = None,
) -> Path:
    """Build plans of each class's UNet, of the decoder and of the step graph. Return their folder.

    preset: Build plans of the UNets and the small decoder of this preset, if it has some.

    Existing plans that fit are kept. Each plan has a report beside it. plan.json is replaced after each plan, so that
    an engine sees only complete plans. Raises RequestError before anything is written if the request is impossible.
    """
    if request.flavour != "rtx" or request.refit:
        _check_gpu(request)
    trt = load_tensorrt(request.flavour)
    if request.flavour == "rtx" and not request.refit:
        _check_target(trt, request)
    bundle.verify_for(class_names, preset)
    folder = bundle.folder / "plans" / request.folder_name(trt.__version__)
    graphs = wanted_graphs(bundle, class_names, encoder=True, preset=preset)
    _check_space(bundle, folder, _missing(bundle, graphs, _standing(bundle, folder)))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with locked_folder(folder):
            _build_missing(trt, bundle, graphs, request, folder, progress)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise CytosynthError(
            f"The plans in {folder}",
            found=str(error.strerror),
            expected="a writable folder with free space (finished plans are kept)",
            fix="free some space and run the same command again" if full else "check the folder's permissions",
        ) from error
    finally:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    return folder


def _missing(
    bundle: Bundle, graphs: Mapping[str, tuple[str, ...]], standing: Mapping[str, Plan]
) -> dict[str, tuple[str, ...]]:
    """Return the graphs without a plan that fits."""
    return {
        graph: files
        for graph, files in graphs.items()
        if graph not in standing or standing[graph].graph_sha256 != graph_digest(bundle, files)
    }


def _build_missing(
    trt: Any,
    bundle: Bundle,
    graphs: Mapping[str, tuple[str, ...]],
    request: PlanRequest,
    folder: Path,
    progress: StageProgress,
) -> None:
    """Build the plans that a locked folder lacks; see build_plans."""
    plans = _standing(bundle, folder)
    for graph, files in _missing(bundle, graphs, plans).items():
        progress(f"{graph}: building")
        plans[graph] = _build(trt, bundle, graph, files, request, folder, progress)
        # The record is written after each plan, so that an interrupted build keeps its finished plans.
        _write_record(trt, folder, request, plans)


def _write_record(trt: Any, folder: Path, request: PlanRequest, plans: dict[str, Plan]) -> None:
    write_json(
        folder / "plan.json",
        {
            "format_version": FORMAT_VERSION,
            "flavour": request.flavour,
            "version": trt.__version__,
            "compute_capability": request.compute_capability,
            "batch_sizes": list(request.batch_sizes),
            "width": request.width,
            "height": request.height,
            "refit": request.refit,
            "plans": {graph: _as_json(plan) for graph, plan in sorted(plans.items())},
        },
    )


def _as_json(plan: Plan) -> dict[str, Any]:
    facts = asdict(plan)
    facts["bytes"] = facts.pop("size_bytes")
    return facts


def _standing(bundle: Bundle, folder: Path) -> dict[str, Plan]:
    """Return the existing plans that are complete and belong to graphs of the bundle."""
    if not (folder / "plan.json").exists():
        return {}
    try:
        found = read_plan_folder(folder / "plan.json")
        known = all_graphs(bundle)
        kept = {
            graph: plan
            for graph, plan in found.plans.items()
            if graph in known and plan.graph_sha256 == graph_digest(bundle, known[graph])
        }
        for graph in kept:
            found.open(graph)
    except RequestError:
        return {}
    return kept


def _check_target(trt: Any, request: PlanRequest) -> None:
    gpu = f"SM{request.compute_capability.replace('.', '')}"
    offered = [name for name in dir(trt.ComputeCapability) if re.fullmatch(r"SM\d+", name)]
    if gpu not in offered:
        raise RequestError(
            f"--gpu {gpu.lower()}",
            found=f"a GPU that TensorRT for RTX {trt.__version__} does not know",
            expected=f"one of {', '.join(name.lower() for name in offered)}",
            fix="use another version of tensorrt-rtx, or --flavour tensorrt on a machine with that GPU",
        )


def _check_gpu(request: PlanRequest) -> None:
    here = gpu_here()
    if here != request.compute_capability:
        raise RequestError(
            "--refit" if request.refit else "--flavour tensorrt",
            found="no GPU" if here is None else f"a GPU of compute capability {here}",
            expected=f"the GPU for which the plans are built, of compute capability {request.compute_capability}",
            fix="run the command on a machine with this GPU, or leave the option out: TensorRT for RTX needs no GPU",
        )


def _check_space(bundle: Bundle, folder: Path, graphs: dict[str, tuple[str, ...]]) -> None:
    needed = int(
        SPACE_FACTOR * sum(bundle.manifest.files[name].size_bytes for files in graphs.values() for name in files)
    )
    free = shutil.disk_usage(bundle.folder).free
    if free < needed:
        raise RequestError(
            f"The disk of {folder}",
            found=f"{free / 1e6:.0f} MB free",
            expected=f"{needed / 1e6:.0f} MB for {len(graphs)} plans",
            fix="free some space, or build fewer classes with --class",
        )


def _build(
    trt: Any,
    bundle: Bundle,
    graph: str,
    files: tuple[str, ...],
    request: PlanRequest,
    folder: Path,
    progress: StageProgress,
) -> Plan:
    began = time.monotonic()
    content, report = build_graph(
        trt,
        bundle.path(graph),
        lambda network: _shapes(bundle, graph, network, request),
        capability=request.compute_capability,
        on_gpu=request.flavour != "rtx" or request.refit,
        refit=request.refit,
        progress=lambda what: progress(f"{graph}: {what}"),
    )
    path = folder / f"{graph}.plan"
    with replace_file(path) as part:
        part.write_bytes(content)
    seconds = round(time.monotonic() - began, 2)
    write_json(folder / f"{graph}{REPORT}", {"graph": graph, "bytes": content.nbytes, "seconds": seconds, **report})
    progress(f"{graph}: {content.nbytes / 1e6:.1f} MB in {seconds:.1f} s")
    return Plan(path.name, hashlib.sha256(content).hexdigest(), content.nbytes, graph_digest(bundle, files))


def _shapes(bundle: Bundle, graph: str, network: Any, request: PlanRequest) -> Profile:
    """Return the smallest, usual and largest shape of every input with a dynamic axis."""
    manifest = bundle.manifest
    pixels, noise = manifest.pixels_per_latent, manifest.decoder_noise
    sides = (request.height // pixels, request.width // pixels)
    least, most = min(request.batch_sizes), max(request.batch_sizes)
    usual = sorted(request.batch_sizes)[len(request.batch_sizes) // 2]
    decoders = [manifest.decoder_of(preset).decoder[0] for preset in (None, *manifest.presets)]
    batches: tuple[int, int, int]
    if graph == manifest.step:
        batches = (least, usual, most)
    elif graph in (*decoders, *(manifest.vae_encoder or ())[:1]):
        most = decode_batch_size(most, request.width, request.height)
        batches = (1, min(usual, most), most)
    else:
        # A guided step evaluates twice as many rows as pictures, an unguided step as many.
        batches = (least, 2 * usual, 2 * most)
    shapes: Profile = {}
    for i in range(network.num_inputs):
        tensor = network.get_input(i)
        shape = tuple(tensor.shape)
        if -1 in shape:
            # The noise of a decoder that draws grain is larger than the latents.
            scale = noise.scale if noise is not None and tensor.name == "noise" else 1
            rest = (*shape[1:-2], *(scale * side for side in sides)) if len(shape) == 4 else shape[1:]
            if tensor.name == "images":
                rest = (request.height, request.width, shape[-1])
            low, middle, high = ((batch, *rest) for batch in batches)
            shapes[tensor.name] = (low, middle, high)
    return shapes
