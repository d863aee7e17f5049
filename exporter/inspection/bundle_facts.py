"""A bundle in numbers: its graphs, the size of each class, what classes share, and its plans."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from engine.bundle.folder import Bundle
from engine.bundle.plans import read_plans
from exporter.inspection.graph_facts import GraphFacts, graph_facts

__all__ = ["BundleFacts", "ClassFacts", "PlanFolderFacts", "bundle_facts"]


@dataclass(frozen=True)
class ClassFacts:
    """A class: the bytes of its own files, and of the files that other classes use, too. The decoder is not counted."""

    name: str
    unet: str
    own_bytes: int
    shared_bytes: int
    low_rank: int
    """Number of weights that are computed from another weight and two factors."""


@dataclass(frozen=True)
class PlanFolderFacts:
    """A folder of plans: its key, and how many plans it holds."""

    folder: str
    flavour: str
    version: str
    compute_capability: str
    batch_sizes: tuple[int, ...]
    picture_size: tuple[int, int]
    plans: int
    size_bytes: int


@dataclass(frozen=True)
class BundleFacts:
    """A bundle. `size_bytes` counts each file once, without the plans."""

    name: str
    sha256: str
    size_bytes: int
    shared_bytes: int
    """Bytes of the graphs and weights that more than one class uses, without the decoder and other common files."""
    without_sharing_bytes: int
    """Size of the bundle if each class had its own copy of these files."""
    graphs: tuple[GraphFacts, ...]
    classes: tuple[ClassFacts, ...]
    plans: tuple[PlanFolderFacts, ...]


def bundle_facts(bundle: Bundle) -> BundleFacts:
    """Return the facts of a bundle. Raises RequestError for a file that is no graph, or a damaged plan.json."""
    manifest = bundle.manifest
    sizes = {name: entry.size_bytes for name, entry in manifest.files.items()}
    users = Counter(name for entry in manifest.classes.values() for name in entry.files)
    shared = {name for name, count in users.items() if count > 1}
    total = sum(sizes.values())
    return BundleFacts(
        name=manifest.name,
        sha256=bundle.sha256,
        size_bytes=total,
        shared_bytes=sum(sizes[name] for name in shared),
        without_sharing_bytes=total + sum((users[name] - 1) * sizes[name] for name in shared),
        graphs=tuple(graph_facts(bundle.path(name)) for name in manifest.files if name.endswith(".onnx")),
        classes=tuple(
            ClassFacts(
                name=name,
                unet=entry.unet,
                own_bytes=sum(sizes[file] for file in {*entry.files} - shared),
                shared_bytes=sum(sizes[file] for file in {*entry.files} & shared),
                low_rank=entry.low_rank,
            )
            for name, entry in manifest.classes.items()
        ),
        plans=tuple(
            PlanFolderFacts(
                folder=found.folder.name,
                **found.key_facts,
                plans=len(found.plans),
                size_bytes=sum(plan.size_bytes for plan in found.plans.values()),
            )
            for found in read_plans(bundle)
        ),
    )
