"""Compare the training loop of `trainer fit` with two others on the same shapes, in interleaved rounds.

The first peer trains like AUTOMATIC1111: autocast, gradient checkpointing, attention in plain operations, cached
latents and prompt embeddings. The second peer trains like diffusers' training scripts: autocast, fused attention, no
checkpointing, picture and prompt encoded in every step. Both peers also run in float32, because autocast is slower on
many CPUs at batch size 1.

With `--method lora` the peer is diffusers' train_text_to_image_lora.py: PEFT's layers in the UNet, of the rank and the
layers of `trainer fit`, and frozen weights in the precision of the arithmetic. The WebUI trains no LoRA.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import version
from typing import Any

import torch
from diffusers.models.attention_processor import AttnProcessor
from peft import LoraConfig
from torch import nn

from benchmarks.settings import TrainingSettings
from trainer.base.base import Base, encode_prompts
from trainer.hypernetwork.network import Hypernetwork, attached, attention_dimensions
from trainer.lora.network import Lora
from trainer.training.devices import Compute, choose_compute
from trainer.training.objective import denoising_loss
from trainer.training.record import machine_and_versions
from trainer.training.settings import Hardware

__all__ = ["compare_loops"]

PICTURES = 16
RATE = 1e-5
PROMPT = "a cell"
RANK = 8
"""Rank of a LoRA, which is the default of `trainer fit`."""
TARGETS = ["to_k", "to_q", "to_v", "to_out.0"]
"""Layers of a LoRA, by the names of train_text_to_image_lora.py: those that `trainer fit` also trains."""
Step = Callable[[], None]
Parameters = list[nn.Parameter]


def compare_loops(open_fresh: Callable[[], Base], settings: TrainingSettings) -> dict[str, Any]:
    """Return a record with the raw seconds of each loop and the speed-ups over each peer.

    After a warm-up round the loops take turns, and the order rotates by one in each round. open_fresh: opens the base.
    It is called once per loop, because each loop changes the base in its own way.
    """
    webui = {} if settings.method == "lora" else {"AUTOMATIC1111": _webui}
    with ExitStack() as opened:
        loops = {
            f"as {name}{'' if autocast else ', f32'}": make(open_fresh(), settings, opened, autocast)
            for autocast in ((False,) if settings.only_float32 else (True, False))
            for name, make in {**webui, "diffusers": _diffusers}.items()
        }
        peers = list(loops)
        for precision in ("f32",) if settings.only_float32 else ("f32", "bf16"):
            for mode in (False, True) if settings.compiled else (False,):
                compute = choose_compute(Hardware(settings.device, precision, compiled=mode))
                name = f"fit {precision}{' compiled' if mode else ''}"
                loops[name] = _fit(open_fresh(), settings, compute, opened)
        seconds: dict[str, list[float]] = {name: [] for name in loops}
        names = list(loops)
        for number in range(settings.rounds + 1):
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                began = time.perf_counter()
                for _ in range(settings.steps):
                    loops[name]()
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                if number:
                    seconds[name].append(round((time.perf_counter() - began) / settings.steps, 5))
    median = {name: statistics.median(values) for name, values in seconds.items()}
    facts = machine_and_versions()
    if settings.method == "lora":
        facts["versions"]["peft"] = version("peft")
    return {
        **facts,
        "method": settings.method,
        "batch_size": settings.batch_size,
        "seconds_per_step": seconds,
        "steps_per_second": {name: 1 / value for name, value in median.items()},
        "times_peer": {
            name: {peer: median[peer] / median[name] for peer in peers} for name in names if name not in peers
        },
    }


def _fit(base: Base, settings: TrainingSettings, compute: Compute, opened: ExitStack) -> Step:
    """Return a step of `trainer fit`: cached latents and embeddings, the frozen UNet already in its precision."""
    trained = _adapter(base, settings, opened)
    with torch.no_grad():
        context = encode_prompts(base, [PROMPT])
    latents = _latents(base)
    unet = compute.ready(base.unet)
    trained.to(compute.device)
    parameters = list(trained.parameters())
    optimizer = torch.optim.AdamW(parameters, lr=RATE, fused=True)
    generator = torch.Generator().manual_seed(0)

    def step() -> None:
        rows = torch.randint(PICTURES, (settings.batch_size,), generator=generator)
        with compute.autocast():
            loss = denoising_loss(unet, base.scheduler, latents[rows], context.expand(len(rows), -1, -1), generator)
        loss.backward()
        _end(parameters, optimizer, loss)

    return step


def _webui(base: Base, settings: TrainingSettings, opened: ExitStack, autocast: bool) -> Step:
    base.unet.set_attn_processor(AttnProcessor())
    base.unet.enable_gradient_checkpointing()
    latents = _latents(base)
    with torch.no_grad():
        context = encode_prompts(base, [PROMPT])
    return _plain(base, settings, opened, autocast, lambda rows: latents[rows], context)


def _diffusers(base: Base, settings: TrainingSettings, opened: ExitStack, autocast: bool) -> Step:
    side = base.picture_side
    pictures = torch.rand(PICTURES, 3, side, side, generator=torch.Generator().manual_seed(0)) * 2 - 1
    compute = choose_compute(Hardware(settings.device, "f32"))
    base.vae.requires_grad_(False).to(compute.device)
    scale = base.vae.config.scaling_factor
    if settings.method == "lora" and autocast:
        for part in (base.vae, base.unet, base.text_encoder):
            part.to(torch.bfloat16)

    def encode(rows: torch.Tensor) -> torch.Tensor:
        return base.vae.encode(pictures[rows].to(compute.device, base.vae.dtype)).latent_dist.sample() * scale

    return _plain(base, settings, opened, autocast, encode)


def _plain(
    base: Base,
    settings: TrainingSettings,
    opened: ExitStack,
    autocast: bool,
    latents_of: Callable[[torch.Tensor], torch.Tensor],
    known: torch.Tensor | None = None,
) -> Step:
    """Return a step of a peer. autocast: compute in bfloat16. known: cached prompt embeddings."""
    compute = choose_compute(Hardware(settings.device, "f32"))
    base.unet.requires_grad_(False).train().to(compute.device)
    base.text_encoder.requires_grad_(False).to(compute.device)
    if settings.method == "lora":
        torch.manual_seed(0)
        base.unet.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, init_lora_weights="gaussian", target_modules=TARGETS))
        parameters = [parameter for parameter in base.unet.parameters() if parameter.requires_grad]
    else:
        parameters = list(_adapter(base, settings, opened).to(compute.device).parameters())
    optimizer = torch.optim.AdamW(parameters, lr=RATE)
    generator = torch.Generator().manual_seed(0)
    size = settings.batch_size

    def step() -> None:
        rows = torch.randint(PICTURES, (size,), generator=generator)
        with torch.autocast(compute.device.type, torch.bfloat16, enabled=autocast):
            context = encode_prompts(base, [PROMPT] * size) if known is None else known.expand(size, -1, -1)
            loss = denoising_loss(base.unet, base.scheduler, latents_of(rows).float().cpu(), context, generator)
        loss.backward()
        _end(parameters, optimizer, loss)

    return step


def _adapter(base: Base, settings: TrainingSettings, opened: ExitStack) -> nn.Module:
    """Return what `trainer fit` trains, attached to the UNet."""
    torch.manual_seed(0)
    if settings.method == "lora":
        lora = Lora(base.unet, RANK)
        opened.enter_context(lora.attached(base.unet))
        return lora
    hypernetwork = Hypernetwork(attention_dimensions(base.unet))
    opened.enter_context(attached(base.unet, hypernetwork))
    return hypernetwork


def _latents(base: Base) -> torch.Tensor:
    side, channels = base.unet.config.sample_size, base.unet.config.in_channels
    return torch.randn(PICTURES, channels, side, side, generator=torch.Generator().manual_seed(0))


def _end(parameters: Parameters, optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    torch.nn.utils.clip_grad_norm_(parameters, 0.1)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    loss.item()
