"""Facts about this machine's processor."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

__all__ = [
    "available_cores",
    "installed_cores",
    "machine_facts",
    "processor_features",
    "processor_model",
    "processor_name",
]


def processor_name() -> str:
    """Return the processor's model name, family and model number.

    On systems other than Linux it is the name that the platform module gives.
    """
    facts = _cpuinfo()
    if facts is None:
        return platform.processor()
    name = facts.get("model name", platform.machine())
    return f"{name}, family {facts.get('cpu family', '?')}, model {facts.get('model', '?')}"


def processor_model() -> str:
    """Return the processor's model name alone."""
    facts = _cpuinfo()
    return platform.processor() if facts is None else facts.get("model name", platform.machine())


def processor_features() -> str:
    """Return the processor's instruction sets, sorted, as the system lists them. Empty if the system has no list.

    Two processors of the same name can differ in these, for example in virtual machines.
    """
    facts = _cpuinfo() or {}
    return " ".join(sorted((facts.get("flags") or facts.get("Features") or "").split()))


def available_cores() -> int:
    """Return the number of cores that this process may use, at least 1."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def installed_cores() -> int:
    """Return the number of cores of the machine, at least 1."""
    return os.cpu_count() or 1


def machine_facts() -> dict[str, Any]:
    """Return what a record of measurements says of the machine: the processor and the number of installed cores."""
    return {"processor": processor_name(), "cores": installed_cores()}


def _cpuinfo() -> dict[str, str] | None:
    """Return the fields of the last processor in /proc/cpuinfo, or None if the system has no such file."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return None
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
