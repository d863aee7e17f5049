"""croissant.json: a description of a finished run in MLCommons' Croissant vocabulary.

It follows Croissant 1.1 and its extension for responsible AI, RAI 1.0 (https://docs.mlcommons.org/croissant). It
repeats only what the files of the run state, and no time, so that equal runs have equal bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.errors import RequestError
from engine.files import sha256_of, write_json
from engine.output.journal import FAILED, METADATA, file_of

__all__ = ["CROISSANT", "write_croissant"]

CROISSANT = "croissant.json"
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "prov": "http://www.w3.org/ns/prov#",
    "conformsTo": "dct:conformsTo",
    "name": {"@container": "@language"},
    "description": {"@container": "@language"},
    "data": {"@id": "cr:data", "@type": "@json"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "containedIn": "cr:containedIn",
    "equivalentProperty": "cr:equivalentProperty",
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context of the specification, with which readers compare, and the W3C's vocabulary for provenance."""
COLUMNS = {"class": ("sc:Text", "cr:Label"), "seed": ("sc:Integer",), "synthetic": ("sc:Boolean",)}
"""The columns of metadata.jsonl that describe a picture, and their types."""
TOLD = (
    "attribution",
    "base",
    "bundle",
    "bundle_sha256",
    "guidance_scale",
    "licence",
    "sampler",
    "steps",
    "trained_on",
    "training_pictures",
)
"""The fields of a line that are equal for the whole class."""
OF_THE_BASE = ("base_attribution", "base_licence")
"""Fields that the lines have if the bundle states where its base comes from."""


@dataclass(frozen=True)
class _Run:
    """The content of metadata.jsonl: its hash, the facts and the number of pictures of each class, and the shards."""

    sha256: str
    classes: dict[str, dict[str, Any]]
    counts: Counter[str]
    shards: list[str]


def write_croissant(folder: Path) -> Path:
    """Write `folder/croissant.json` from the run's metadata.jsonl and failed.jsonl.

    Shards are listed with hashes, single pictures as a set of files without hashes. Raises RequestError if
    metadata.jsonl is invalid.
    """
    run = _read(folder / METADATA)
    failed = (folder / FAILED).read_bytes().count(b"\n") if (folder / FAILED).exists() else 0
    path = folder / CROISSANT
    write_json(path, {**_about(run, failed), **_files(folder, run), "recordSet": _records(bool(run.shards))})
    return path


def _read(path: Path) -> _Run:
    digest, classes, counts = hashlib.sha256(), dict[str, dict[str, Any]](), Counter[str]()
    shards: dict[str, None] = {}
    try:
        with path.open("rb") as file:
            for line in file:
                digest.update(line)
                row = json.loads(line)
                if row["class"] not in classes:
                    classes[row["class"]] = {name: row[name] for name in TOLD}
                    classes[row["class"]] |= {name: row[name] for name in OF_THE_BASE if name in row}
                counts[row["class"]] += 1
                if (name := file_of(row)).endswith(".tar"):
                    shards[name] = None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RequestError(
            f"The record {path}",
            found=f"{type(error).__name__}: {error}",
            expected="the lines that `engine generate` wrote",
            fix="make the run again with --overwrite",
        ) from error
    return _Run(digest.hexdigest(), classes, counts, list(shards))


def _about(run: _Run, failed: int) -> dict[str, Any]:
    first = next(iter(run.classes.values()))
    taught = "; ".join(
        f"{name}: {run.counts[name]} pictures, taught by {told['training_pictures']} ({told['trained_on']})"
        for name, told in run.classes.items()
    )
    stated = [(told["attribution"], told["licence"]) for told in run.classes.values()]
    stated += [(told[OF_THE_BASE[0]], told[OF_THE_BASE[1]]) for told in run.classes.values() if OF_THE_BASE[0] in told]
    sources = list(dict.fromkeys(stated))
    made = (
        "`engine generate` of cytosynth drew each picture with a latent-diffusion model from its class and seed. "
        f"Bundle {first['bundle']}, SHA-256 {first['bundle_sha256']}; base: {first['base']}; sampler "
        f"{first['sampler']}, {first['steps']} steps, guidance scale {first['guidance_scale']:g}. {METADATA} has every "
        "setting of every picture."
    )
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": f"Synthetic cells: {', '.join(run.classes)}",
        "description": f"Synthetic pictures of stained cells, none of them a photograph. {taught}.",
        "keywords": ["synthetic", "cytology", "stained cells", *run.classes],
        "license": sorted({licence for _, licence in sources}),
        "creditText": "; ".join(f"{attribution} ({licence})" for attribution, licence in sources),
        "digitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia",
        "rai:hasSyntheticData": True,
        "rai:dataCollection": made,
        "rai:dataCollectionMissingData": f"Seeds whose picture stayed blank or not finite, and is left out: {failed}.",
        "rai:dataAnnotationProtocol": "The class of a picture is the one that the model was asked for; no one looked.",
        "rai:dataLimitations": "For research; nothing here may serve a diagnosis. No measure of a classifier: a test "
        "set holds real pictures alone.",
        "rai:dataBiases": f"A class shows no more than what taught it. {taught}.",
        "rai:dataUseCases": "Training a classifier beside real pictures.",
        "rai:personalSensitiveInformation": "No picture is of a patient's cell. A model can repeat a training picture; "
        "`python -m evaluate copies` looks for that.",
        "prov:wasDerivedFrom": [
            {"@type": "prov:Entity", "name": attribution, "license": licence} for attribution, licence in sources
        ],
        "prov:wasGeneratedBy": {"@type": "prov:Activity", "name": "engine generate", "description": made},
    }


def _files(folder: Path, run: _Run) -> dict[str, Any]:
    """Return the distribution: metadata.jsonl, the shards, and the pictures in folders or shards."""
    metadata = _file(folder, METADATA, "application/jsonlines", run.sha256)
    shards = [_file(folder, name, "application/x-tar", sha256_of(folder / name)) for name in run.shards]
    pictures: dict[str, Any] = {"@type": "cr:FileSet", "@id": "pictures", "encodingFormat": "image/png"}
    if shards:
        pictures |= {"containedIn": [{"@id": shard["@id"]} for shard in shards], "includes": "*.png"}
    else:
        pictures["includes"] = [f"{name}/*.png" for name in run.classes]
    return {"distribution": [metadata, *shards, pictures]}


def _file(folder: Path, name: str, encoding: str, sha256: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "contentSize": f"{(folder / name).stat().st_size} B",
        "encodingFormat": encoding,
        "sha256": sha256,
    }


def _records(in_shards: bool) -> list[dict[str, Any]]:
    """Return two record sets: the lines of metadata.jsonl, and the pictures, joined by the name of the file."""
    metadata, pictures = {"fileObject": {"@id": METADATA}}, {"fileSet": {"@id": "pictures"}}
    name = {**metadata, "extract": {"column": "file_name"}}
    own_name = {**pictures, "extract": {"fileProperty": "filename" if in_shards else "fullpath"}}
    if in_shards:
        name["transform"] = {"regex": r"^.*\.tar/(.+)$"}
    # Without a transformation mlcroissant would compare a path with a text.
    own_name["transform"] = {"regex": "^(.+)$"}
    lines = [
        _field("lines/name", ("sc:Text",), name),
        *(_field(f"lines/{of}", types, {**metadata, "extract": {"column": of}}) for of, types in COLUMNS.items()),
    ]
    cells = [
        _field("cells/image", ("sc:ImageObject",), {**pictures, "extract": {"fileProperty": "content"}}),
        _field("cells/name", ("sc:Text",), own_name) | {"references": {"field": {"@id": "lines/name"}}},
        *(_field(f"cells/{of}", types, {"field": {"@id": f"lines/{of}"}}) for of, types in COLUMNS.items()),
    ]
    return [
        {"@type": "cr:RecordSet", "@id": of, "key": {"@id": f"{of}/name"}, "field": fields}
        for of, fields in (("lines", lines), ("cells", cells))
    ]


def _field(identity: str, types: tuple[str, ...], source: dict[str, Any]) -> dict[str, Any]:
    return {"@type": "cr:Field", "@id": identity, "dataType": list(types), "source": source}
