"""The systems of the comparison on a GPU: diffusers, ONNX Runtime on two kinds of providers, and TensorRT plans."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import nn

from benchmarks.gpu.models import Inputs, Models
from benchmarks.rounds import System, timed
from engine.backends.base import Backend
from engine.backends.onnxruntime import ORTBackend, cuda_problem
from engine.backends.tensorrt import TensorRTApi, TensorRTDevice, TensorRTModel, load_api
from engine.bundle.plans import Plan, PlanFolder
from engine.errors import RequestError
from exporter.plans.builder import Profile, build_graph

__all__ = ["Place", "TorchModels", "build_plans", "graph_system", "onnxruntime_backend", "provider_backend"]

PROVIDERS = {"TensorrtExecutionProvider": "trt", "NvTensorRTRTXExecutionProvider": "nv"}
"""ONNX Runtime's providers that build TensorRT engines, and the prefix of their options."""


@dataclass(frozen=True)
class Place:
    """Where the comparison runs. A rehearsal runs on the processor."""

    rehearsal: bool

    @property
    def device(self) -> str:
        """Torch's name of the device."""
        return "cpu" if self.rehearsal else "cuda"


class TorchModels:
    """The models of diffusers in float32 and float16 on one device. Each is made once."""

    def __init__(self, models: Models, place: Place) -> None:
        self._models, self._place = models, place
        self._made: dict[tuple[str, torch.dtype], nn.Module] = {}

    def _module(self, part: str, dtype: torch.dtype) -> nn.Module:
        if (part, dtype) not in self._made:
            module = copy.deepcopy(self._models.unet if part == "step" else self._models.vae)
            self._made[part, dtype] = module.to(self._place.device, dtype)
        return self._made[part, dtype]

    def system(self, name: str, part: str, inputs: Inputs, dtype: torch.dtype, *, compiled: bool = False) -> System:
        """Return a system that computes a part with diffusers."""
        module = self._module(part, dtype)
        call: Callable[..., Any] = module if part == "step" else module.decode  # type: ignore[assignment]
        if compiled:
            # Compiling for the processor takes minutes, so a rehearsal only traces.
            call = torch.compile(call, dynamic=False, backend="eager" if self._place.rehearsal else "inductor")

        def there(values: NDArray[np.float32]) -> torch.Tensor:
            return torch.from_numpy(values).to(self._place.device, dtype)

        if part == "step":
            latents, context = there(inputs.latents), there(inputs.context)

            def step() -> NDArray[Any]:
                eps = call(latents, inputs.timestep, encoder_hidden_states=context, return_dict=False)[0]
                return np.asarray(eps.float().cpu().numpy())

            return System(name, "diffusers", timed(torch.no_grad()(step)))
        scaled = there(inputs.decoding / np.float32(self._models.vae.config.scaling_factor))

        def pictures() -> NDArray[Any]:
            values = call(scaled, return_dict=False)[0].float()
            whole = (255 * ((values + 1) / 2).clamp(0, 1)).permute(0, 2, 3, 1).to(torch.uint8)
            return np.asarray(whole.cpu().numpy())

        return System(name, "diffusers", timed(torch.no_grad()(pictures)))

    def close(self) -> None:
        """Free the models and the compiled code."""
        self._made.clear()
        torch.compiler.reset()
        if not self._place.rehearsal:
            torch.cuda.empty_cache()


def graph_system(name: str, program: str, part: str, path: Path, inputs: Inputs, backend: Any) -> System:
    """Return a system that computes a part with a graph, in the memory of the backend's device as the engine does.

    The UNet's inputs stay on the device, and its work is replayed as one CUDA graph where the backend records one.
    """
    if part == "decode":
        model = backend.open(path, {"latents": inputs.decoding.shape}, ("images", "finite"))
        return System(name, program, timed(lambda: model.run({"latents": inputs.decoding})["images"]))
    arrays = {
        "latents": inputs.latents,
        "time_features": inputs.time_features,
        "encoder_hidden_states": inputs.context,
    }
    device = backend.device
    buffers = {key: device.allocate(value.shape) for key, value in arrays.items()}
    for key, value in arrays.items():
        buffers[key].write(value)
    shapes = {key: value.shape for key, value in arrays.items()}
    context = device.open_context(path, shapes, {"eps": inputs.latents.shape})
    buffers["eps"] = device.allocate(inputs.latents.shape)
    pointers = {key: buffer.pointer for key, buffer in buffers.items()}
    # The first run allocates memory, which no graph may hold.
    context.run(pointers)
    replay = device.capture(partial(context.run, pointers)) or partial(context.run, pointers)

    def step() -> NDArray[Any]:
        replay()
        return np.asarray(buffers["eps"].read())

    return System(name, program, timed(step))


def onnxruntime_backend(place: Place) -> Backend:
    """Return ONNX Runtime with CUDA, in a rehearsal on the processor. Raises RequestError without CUDA."""
    problem = None if place.rehearsal else cuda_problem()
    if problem is not None:
        raise RequestError("ONNX Runtime", found=problem, expected="CUDA", fix="pip install 'cytosynth[cuda]'")
    return ORTBackend()


class ProviderBackend(ORTBackend):
    """ONNX Runtime with a provider that builds TensorRT engines. What the provider does not take runs on CUDA."""

    def __init__(self, provider: str, options: Mapping[str, str]) -> None:
        super().__init__()
        self._providers.insert(0, (provider, dict(options)))


def provider_backend(provider: str, profile: Profile, cache: Path) -> ProviderBackend:
    """Return ONNX Runtime with a TensorRT provider, whose engine covers a profile and is kept in a folder.

    Raises RequestError if this build of ONNX Runtime lacks the provider.
    """
    if provider not in ort.get_available_providers():
        raise RequestError(
            f"ONNX Runtime's {provider}",
            found="this build has no such provider",
            expected="a build with the provider",
            fix="pip install 'cytosynth[cuda]' and TensorRT's libraries",
        )
    prefix = PROVIDERS[provider]
    options = {}
    for word, place in (("min", 0), ("opt", 1), ("max", 2)):
        shapes = (f"{name}:{'x'.join(map(str, three[place]))}" for name, three in profile.items())
        options[f"{prefix}_profile_{word}_shapes"] = ",".join(shapes)
    if prefix == "trt":
        options |= {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(cache)}
    return ProviderBackend(provider, options)


class PlanBackend:
    """Plans in a folder on TensorRT's device of the engine."""

    def __init__(self, api: TensorRTApi, plans: PlanFolder) -> None:
        self.device = TensorRTDevice(api, plans)

    def open(self, path: Path, inputs: Mapping[str, tuple[int, ...]], outputs: tuple[str, ...]) -> TensorRTModel:
        """See engine.backends.base.Backend."""
        context = self.device.open_context(path, inputs, dict.fromkeys(outputs))
        return TensorRTModel(context, self.device)


def build_plans(
    flavour: str, paths: Mapping[str, Path], profiles: Mapping[str, Profile], capability: str, *, on_gpu: bool
) -> PlanFolder:
    """Build the plan of each part beside its graph. Raises CytosynthError, or ImportError without the flavour."""
    trt = load_api(flavour).trt
    plans = {}
    for part, path in paths.items():
        content, _ = build_graph(trt, path, _always(profiles[part]), capability=capability, on_gpu=on_gpu)
        file = path.with_name(f"{path.name}.plan")
        file.write_bytes(content)
        plans[path.name] = Plan(file.name, hashlib.sha256(content).hexdigest(), len(content), "0" * 64)
    folder = next(iter(paths.values())).parent
    return PlanFolder(folder, flavour, str(trt.__version__), capability, (1,), (1, 1), plans)


def _always(profile: Profile) -> Callable[[Any], Profile]:
    return lambda network: profile
