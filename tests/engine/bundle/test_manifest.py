"""The manifest is checked field by field and never trusted."""

from __future__ import annotations

import json

import numpy as np
import pytest

from engine.bundle.manifest import BaseFacts, read_manifest
from engine.errors import RequestError


@pytest.fixture
def change(bundle_copy):
    """Change the manifest in place; returns its path."""

    def apply(edit):
        path = bundle_copy / "manifest.json"
        manifest = json.loads(path.read_text())
        edit(manifest)
        path.write_text(json.dumps(manifest))
        return path

    return apply


def entry(manifest):
    return {"sha256": "0" * 64, "bytes": 1}


def preset(manifest, **changes):
    return {**{name: value for name, value in manifest["defaults"].items() if name != "batch_size"}, **changes}


def turbo(manifest, unets, version=3, name="turbo", **changes):
    """Give a manifest a preset with a learned table of one row and these UNets, if any."""
    row = {"sigma": 1.0, "timestep": 500, "guidance_scale": 1, "a": 1, "b": 0}
    models = changes if unets is None else {"unets": unets, **changes}
    manifest.update(format_version=version, presets={name: {"table": [row], **models}})


def small(manifest, **changes):
    """Give a manifest a preset with UNets and a small decoder, whose files are those of the bundle."""
    turbo(manifest, unet(manifest), version=4, **{"decoder": manifest["decoder"], **changes})


def unet(manifest, **changes):
    own = manifest["classes"]["cyt_mast"]
    return {"cyt_mast": {"unet": own["unet"], "weights": own["weights"], **changes}}


def low_rank(manifest, number):
    manifest["classes"]["cyt_nep_mast"]["low_rank"] = number


EDITS = {
    "name": lambda m: m.update(name="../evil"),
    "format_version": lambda m: m.update(format_version=99),
    "files.../../etc/passwd": lambda m: m["files"].update({"../../etc/passwd": entry(m)}),
    "files./etc/passwd": lambda m: m["files"].update({"/etc/passwd": entry(m)}),
    "files.sub/unet.bin": lambda m: m["files"].update({"sub/unet.bin": entry(m)}),
    "files.unet.bin.sha256": lambda m: m["files"]["unet.bin"].update(sha256="abc"),
    "files.unet.bin.bytes": lambda m: m["files"]["unet.bin"].update(bytes=-1),
    "classes.cyt_mast.unet": lambda m: m["classes"]["cyt_mast"].update(unet="../other.onnx"),
    "classes.cyt_mast.origin": lambda m: m["classes"]["cyt_mast"].update(origin="hearsay"),
    "classes.cyt_mast.low_rank": lambda m: m["classes"]["cyt_mast"].update(low_rank=1),
    "classes.cyt_nep_mast.low_rank": lambda m: m.update(format_version=3) or low_rank(m, 0),
    "classes.cyt_mast.licence": lambda m: m["classes"]["cyt_mast"].pop("licence"),
    "classes": lambda m: m["classes"].update({"Cyt_Mast": m["classes"]["cyt_mast"]}),
    "classes.../up": lambda m: m["classes"].update({"../up": m["classes"]["cyt_mast"]}),
    "latents.channels": lambda m: m["latents"].update(channels="4"),
    "latents.height": lambda m: m["latents"].update(height=10**9),
    "schedule.prediction_type": lambda m: m["schedule"].update(prediction_type="v_prediction"),
    "schedule.beta_end": lambda m: m["schedule"].update(beta_end=float("nan")),
    "defaults.num_inference_steps": lambda m: m["defaults"].update(num_inference_steps=True),
    "time_features.frequencies": lambda m: m["time_features"].update(frequencies=[]),
    "presets.../up": lambda m: m.update(presets={"../up": preset(m)}),
    "presets.fast.sampler": lambda m: m.update(presets={"fast": preset(m, sampler="langevin")}),
    "presets.fast.guidance_interval[1]": lambda m: m.update(presets={"fast": preset(m, guidance_interval=[3, 2])}),
    "presets.fast.num_inference_steps": lambda m: m.update(presets={"fast": preset(m, num_inference_steps=0)}),
    "presets.turbo.unets": lambda m: turbo(m, unet(m), version=2),
    "presets.turbo.unets.other": lambda m: turbo(m, {"other": unet(m)["cyt_mast"]}),
    "presets.turbo.unets.cyt_mast.unet": lambda m: turbo(m, unet(m, unet="../unet.onnx")),
    "presets.turbo.unets.cyt_mast.unet_int8": lambda m: turbo(m, unet(m, unet_int8="absent.onnx")),
    "presets.turbo.unets.cyt_mast.weights": lambda m: turbo(m, unet(m, weights=[])),
    "presets.turbo.unets.cyt_mast.weights[0]": lambda m: turbo(m, unet(m, weights=["/etc/passwd"])),
    "presets.turbo.table": lambda m: turbo(m, unet(m), table=[]),
    "presets.turbo.decoder": lambda m: turbo(m, unet(m), decoder=m["decoder"]),
    "presets.turbo.decoder[0]": lambda m: small(m, decoder=["../x.onnx"]),
    "presets.turbo.decoder[1]": lambda m: small(m, decoder=[m["decoder"][0], "absent.bin"]),
    "presets.turbo.decoder_int8": lambda m: small(m, decoder_int8="absent.onnx"),
    "presets.empty.decoder": lambda m: small(m, name="empty", decoder=[]),
    "presets.half.decoder_int8": lambda m: turbo(m, unet(m), 4, "half", decoder_int8=m["decoder"][0]),
    "presets.bare.decoder": lambda m: turbo(m, None, 4, "bare", decoder=m["decoder"]),
    "presets.fast.decoder": lambda m: m.update(format_version=4, presets={"fast": preset(m, decoder=m["decoder"])}),
    "presets.fast.unets": lambda m: m.update(format_version=3, presets={"fast": preset(m, unets=unet(m))}),
    "decoder_noise": lambda m: m.update(format_version=1, decoder_noise={"planes": 8, "scale": 2}),
    "decoder_noise.planes": lambda m: m.update(format_version=2, decoder_noise={"planes": 0, "scale": 2}),
    "decoder_noise.scale": lambda m: m.update(format_version=2, decoder_noise={"planes": 8}),
    "base_card.licence": lambda m: m.update(base_card={"attribution": "A. B."}),
    "base_card.prompts[0]": lambda m: m.update(base_card={"licence": "CC0", "attribution": "A. B.", "prompts": [1]}),
    "base_card.crop": lambda m: m.update(base_card={"licence": "CC0", "attribution": "A. B.", "crop": 2}),
    "decoder[0]": lambda m: m["decoder"].__setitem__(0, "absent.onnx"),
}


@pytest.mark.parametrize("field", EDITS)
def test_a_wrong_field_is_named(field, change):
    with pytest.raises(RequestError) as caught:
        read_manifest(change(EDITS[field]))
    assert f"field {field}" in caught.value.subject
    assert caught.value.expected
    assert caught.value.fix


@pytest.mark.parametrize("version", [True, 1.0, "2", 0, 5])
def test_a_format_version_that_is_none_is_refused(version, change):
    with pytest.raises(RequestError, match=r"field format_version[\s\S]*whole number in 1\.\.4"):
        read_manifest(change(lambda m: m.update(format_version=version)))


def test_bundles_of_both_versions_are_read(change):
    noise = {"planes": 8, "scale": 2}
    assert read_manifest(change(lambda m: m.update(format_version=1))).decoder_noise is None
    found = read_manifest(change(lambda m: m.update(format_version=2, decoder_noise=noise)))
    assert found.decoder_inputs(3, (4, 8, 6)) == {"latents": (3, 4, 8, 6), "noise": (3, 8, 16, 12)}


def test_a_preset_draws_with_its_small_decoder(change, bundle_copy):
    def edit(manifest):
        for name in ("small.onnx", "small.bin", "small.int8.onnx"):
            manifest["files"][name] = entry(manifest)
        small(manifest, decoder=["small.onnx", "small.bin"], decoder_int8="small.int8.onnx")
        manifest["presets"]["turbo"]["unets"]["cyt_mast"]["unet_int8"] = "unet.cyt_mast.onnx"

    path = change(edit)
    found = read_manifest(path)
    own = found.classes["cyt_mast"].unet
    assert found.graphs("cyt_mast", "auto", "turbo") == (own, "small.onnx")
    assert found.graphs("cyt_mast", "int8", "turbo") == (own, "small.int8.onnx")
    assert found.graphs("cyt_mast", "auto") == (own, found.decoder[0])
    assert "int8" in found.precisions_of("turbo")
    assert "int8" not in found.precisions
    assert found.presets["turbo"].as_json()["decoder"] == ("small.onnx", "small.bin")
    # A run is not resumed with another decoder, and the 8-bit UNets alone are not enough for 8 bits.
    sha256 = found.unets_sha256(["cyt_mast"], "turbo")
    for edit in (
        lambda m: m["files"]["small.bin"].update(sha256="1" * 64),
        lambda m: [m["presets"]["turbo"].pop(name) for name in ("decoder", "decoder_int8")],
    ):
        assert read_manifest(change(edit)).unets_sha256(["cyt_mast"], "turbo") != sha256
    with pytest.raises(RequestError, match="no 8-bit graphs of the class cyt_mast for the preset turbo"):
        read_manifest(path).graphs("cyt_mast", "int8", "turbo")


def test_the_card_of_the_base_is_read_and_may_be_absent(change):
    card = {"licence": "CC0", "attribution": "A. B.", "prompts": [], "crop": None}
    assert read_manifest(change(lambda m: m.pop("base_card", None))).base_facts is None
    assert read_manifest(change(lambda m: m.update(base_card=card))).base_facts == BaseFacts("CC0", "A. B.", (), None)


def test_what_is_no_json_is_refused(bundle_copy):
    (bundle_copy / "manifest.json").write_bytes(b"\xff{")
    with pytest.raises(RequestError, match="unreadable"):
        read_manifest(bundle_copy / "manifest.json")


def test_a_randomly_damaged_manifest_is_read_or_refused(tiny_bundle, tmp_path):
    """Arbitrary JSON in a field gives a valid manifest or a RequestError, never another exception."""
    whole = json.loads((tiny_bundle / "manifest.json").read_text())
    rng = np.random.default_rng(0)
    strange = [
        None,
        True,
        -1,
        0,
        1e308,
        float("nan"),
        2**70,
        "",
        "../x",
        "a" * 5000,
        "\x00",
        [],
        [[]],
        {},
        {"": {}},
        "cells",
    ]
    path = tmp_path / "manifest.json"

    def places(value, place=()):
        yield place
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, inner in items:
            yield from places(inner, (*place, key))

    everywhere = list(places(whole))
    read = refused = 0
    for _ in range(600):
        damaged = json.loads(json.dumps(whole))
        for _ in range(rng.integers(1, 4)):
            place = everywhere[rng.integers(len(everywhere))]
            try:
                parent = damaged
                for key in place[:-1]:
                    parent = parent[key]
                if place and rng.random() < 0.2:
                    del parent[place[-1]]
                elif place:
                    parent[place[-1]] = strange[rng.integers(len(strange))]
                else:
                    damaged = strange[rng.integers(len(strange))]
            except (KeyError, IndexError, TypeError):
                continue
        path.write_text(json.dumps(damaged))
        try:
            manifest = read_manifest(path)
        except RequestError:
            refused += 1
            continue
        read += 1
        for name in manifest.files:
            assert (tmp_path / name).resolve().parent == tmp_path.resolve()
    assert refused > 300
    assert read > 0


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\x00", "{}", "null", '{"format_version": 1e400}'])
def test_what_is_no_manifest_is_refused(text, tmp_path):
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(RequestError, match=r"manifest\.json"):
        read_manifest(tmp_path / "manifest.json")
