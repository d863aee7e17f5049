"""What a merged checkpoint states about itself."""

from __future__ import annotations

import hashlib
import json

from safetensors import safe_open

from tests.trainer.checkpoints.checkpoint_files import state, write
from trainer.checkpoints.merge import merge_checkpoints
from trainer.checkpoints.settings import MergeSettings, parse_pattern


def stated(path):
    with safe_open(path, framework="pt") as opened:
        return opened.metadata()


def test_the_recipe_names_files_hashes_and_settings_and_no_path(tmp_path):
    a = write(tmp_path / "a.safetensors", state(0), {"modelspec.prediction_type": "epsilon", "private": "/home/anna"})
    b = write(tmp_path / "b.safetensors", state(1), {"sd_merge_models": "{", "sd_merge_recipe": "[1]"})
    out = tmp_path / "out.safetensors"
    merge_checkpoints([a, b], MergeSettings(out=out, multiplier=0.25, discard=parse_pattern("^model_ema")))
    found = stated(out)
    assert found.keys() == {"format", "modelspec.prediction_type", "sd_merge_models", "sd_merge_recipe"}
    recipe, models = json.loads(found["sd_merge_recipe"]), json.loads(found["sd_merge_models"])
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (a, b)]
    assert [recipe["primary_model_hash"], recipe["secondary_model_hash"], recipe["tertiary_model_hash"]] == [
        *hashes,
        None,
    ]
    assert (recipe["interp_method"], recipe["multiplier"], recipe["discard_weights"]) == (
        "Weighted sum",
        0.25,
        "^model_ema",
    )
    assert {key: value["name"] for key, value in models.items()} == dict(
        zip(hashes, ["a.safetensors", "b.safetensors"], strict=True)
    )
    assert str(tmp_path) not in str(found)


def test_a_merge_of_a_merge_keeps_its_recipe(tmp_path):
    a, b = (write(tmp_path / f"{i}.safetensors", state(i)) for i in range(2))
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    merge_checkpoints([a, b], MergeSettings(out=first))
    merge_checkpoints([first, b], MergeSettings(out=second))
    models = json.loads(stated(second)["sd_merge_models"])
    recipes = {found["name"]: found["sd_merge_recipe"] for found in models.values()}
    assert recipes == {
        "0.safetensors": None,
        "1.safetensors": None,
        "first.safetensors": json.loads(stated(first)["sd_merge_recipe"]),
    }


def test_the_old_hash_is_of_a_part_of_the_file(tmp_path):
    a, b = (write(tmp_path / f"{i}.safetensors", state(i)) for i in range(2))
    merge_checkpoints([a, b], MergeSettings(out=tmp_path / "out.safetensors"))
    models = json.loads(stated(tmp_path / "out.safetensors")["sd_merge_models"])
    # The files are shorter than the place of that part, so it is empty.
    assert {found["legacy_hash"] for found in models.values()} == {hashlib.sha256(b"").hexdigest()[:8]}
