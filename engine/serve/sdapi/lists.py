"""The lists of what there is: classes as checkpoints and hypernetworks, samplers, schedules and upscalers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.output.infotext import SAMPLER_NAMES, SCHEDULE_NAMES
from engine.sampling.samplers import SAMPLERS
from engine.serve.sdapi.enlarge import FILTERS
from engine.serve.sdapi.names import LATENT_MODES, aliases_of, schedule_aliases
from engine.serve.service import Service

__all__ = ["lists_of"]

RHO = {"karras": 7.0, "polyexponential": 1.0}


def lists_of(service: Service) -> dict[str, Callable[[], Any]]:
    """Return the function that makes each list, by the last part of its path. None names a file."""
    return {
        "sd-models": lambda: [
            {
                "title": one.title,
                "model_name": one.model,
                "hash": one.sha256[:10],
                "sha256": one.sha256,
                "filename": one.model,
                "config": None,
            }
            for one in service.classes()
        ],
        "hypernetworks": lambda: [{"name": one.model, "path": one.model} for one in service.classes()],
        "samplers": samplers,
        "schedulers": schedulers,
        "upscalers": upscalers,
        "latent-upscale-modes": lambda: [{"name": name} for name in LATENT_MODES],
        "scripts": lambda: {"txt2img": [], "img2img": []},
        "embeddings": lambda: {"loaded": {}, "skipped": {}},
        "sd-vae": nothing,
        "loras": lambda: loras(service),
        "face-restorers": nothing,
        "prompt-styles": nothing,
        "realesrgan-models": nothing,
        "memory": lambda: {"ram": {"error": "unavailable"}, "cuda": {"error": "unavailable"}},
        "cmd-flags": lambda: {"api": True, "nowebui": False},
    }


def nothing() -> list[Any]:
    """Return no entry: there is none of this kind."""
    return []


def loras(service: Service) -> list[dict[str, Any]]:
    """Return the LoRAs that classes were merged of. A tag in a prompt must name one with the weight of a class."""
    adapters = (adapter for one in service.classes() for adapter in one.adapters or ())
    names = dict.fromkeys(adapter.name for adapter in adapters if adapter.kind == "lora")
    return [{"name": name, "alias": name, "path": name, "metadata": {}} for name in names]


def samplers() -> list[dict[str, Any]]:
    """Return the samplers, with their own schedules."""
    return [
        {"name": name, "aliases": aliases_of(ours), "options": {"scheduler": SAMPLERS[ours].schedule}}
        for ours, name in SAMPLER_NAMES.items()
    ]


def schedulers() -> list[dict[str, Any]]:
    """Return the schedules. The WebUI's Automatic is that of the sampler."""
    names = {"automatic": "Automatic", **SCHEDULE_NAMES}
    return [
        {
            "name": ours,
            "label": label,
            "aliases": [alias for alias in schedule_aliases(ours) if alias not in names] or None,
            "default_rho": RHO.get(ours, -1.0),
            "need_inner_model": ours in ("normal", "sgm_uniform"),
        }
        for ours, label in names.items()
    ]


def upscalers() -> list[dict[str, Any]]:
    """Return what enlarges pictures, `None` first."""
    return [{"name": name, "model_name": None, "model_path": None, "model_url": None, "scale": 4} for name in FILTERS]
