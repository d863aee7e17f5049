"""Give a bundle the decoder of another bundle of the same latents. Everything else stays, byte for byte.

    python -m recipes.new_decoder BUNDLE DONOR OUT

DONOR is a bundle that `exporter onnx` wrote from the base with the new decoder or refiner. OUT is a new folder. OUT has
no 8-bit decoder and no presets in 8 bits, because they belong to the old decoder: add them again with
`exporter int8 --keep-unets` and `exporter preset`. Other presets keep their UNets, but lose their small decoder. It
learned from the old decoder and has the old refiner behind it, so train it again with `trainer shrink` and add it with
`exporter preset --decoder`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.arguments import existing_folder, script_parser
from engine.bundle.folder import open_bundle
from engine.errors import RequestError
from engine.terminal import run_command_line
from exporter.manifest_file import drop_unused, load_manifest, replace_manifest
from trainer.folders import expect_new_folder

OF_THE_BASE = ("base", "base_sha256", "decoder_noise", "decoder_jpeg")
"""Fields of the manifest that come from the donor beside the decoder's files."""
OF_A_SMALL_DECODER = ("decoder", "decoder_int8")
"""Fields of a preset that belong to the old decoder."""
OF_ALL = ("latents", "context", "schedule")
"""Fields that both bundles must have in common."""


def main() -> None:
    """Parse the command line and write the bundle."""
    parser = script_parser("recipes.new_decoder", __doc__)
    parser.add_argument("bundle", metavar="BUNDLE", type=existing_folder)
    parser.add_argument("donor", metavar="DONOR", type=existing_folder)
    parser.add_argument("out", metavar="OUT", type=Path)
    asked = parser.parse_args()
    take_decoder(asked.bundle, asked.donor, asked.out)


def take_decoder(bundle: Path, donor: Path, out: Path) -> None:
    """Write BUNDLE with the decoder of `donor` into the new folder `out`. Raises RequestError."""
    expect_new_folder(out)
    for folder in (bundle, donor):
        opened = open_bundle(str(folder))
        opened.verify(opened.manifest.files)
    manifest, new = load_manifest(bundle), load_manifest(donor)
    for field in OF_ALL:
        if manifest[field] != new[field]:
            raise RequestError(
                f"The field {field} of {donor}",
                found=str(new[field]),
                expected=f"{manifest[field]}, as {bundle} has",
                fix="export the decoder of the same base",
            )
    old_files = {*manifest["decoder"], manifest.pop("decoder_int8", None)} - {None}
    for field in OF_THE_BASE:
        manifest.pop(field, None)
    manifest |= {field: new[field] for field in (*OF_THE_BASE, "decoder", "format_version") if field in new}
    manifest["presets"] = {
        name: {field: value for field, value in preset.items() if field not in OF_A_SMALL_DECODER}
        for name, preset in manifest.get("presets", {}).items()
        if preset.get("precision") != "int8"
    }
    manifest["files"] = {name: entry for name, entry in manifest["files"].items() if name not in old_files}
    manifest["files"] |= {name: new["files"][name] for name in new["decoder"]}
    old_files |= drop_unused(manifest)
    # Plans are of the old decoder.
    shutil.copytree(bundle, out, ignore=shutil.ignore_patterns("plans", *old_files))
    for name in new["decoder"]:
        shutil.copy(donor / name, out / name)
    replace_manifest(out, manifest)


if __name__ == "__main__":
    run_command_line(main)
