"""Wrong requests to fit and embed."""

from __future__ import annotations

import json
import shutil

import pytest

from trainer.base.card import BaseCard, write_card

FIT = ["trainer", "fit", "{path}/prepared/cyt_mast", "--base", "{path}/base"]
EMBED = ["trainer", "embed", *FIT[2:]]
WRONG = {
    "several classes": (["trainer", "fit", "{path}/prepared", "--base", "{path}/base"], "of cyt_mast, cyt_nep"),
    "no base": (["trainer", "fit", "{path}/prepared/cyt_mast", "--base", "{path}/prepared"], "no model_index.json"),
    "no pictures": (["trainer", "fit", "{path}/hypernetworks/checkpoints", "--base", "{path}/base"], "no picture"),
    "no steps": ([*FIT, "--steps", "0"], "--steps"),
    "class": ([*FIT, "--class", "../x"], "letters, digits"),
    "licence": ([*FIT, "--licence", " "], "class record's licence"),
    "size": (["trainer", "fit", "{path}/other_size", "--base", "{path}/base"], "48 x 48 pixels"),
    "rate": ([*FIT, "--learning-rate", "0"], "--learning-rate"),
    "activation": ([*FIT, "--activation", "softmax"], "mixes the pictures"),
    "dimension": ([*FIT, "--dimensions", "768"], "dimensions"),
    "clipping": ([*FIT, "--clipping", "x"], "--clipping"),
    "device": ([*FIT, "--device", "cuda:9"], "--device"),
    "template": ([*FIT, "--template", "{path}/no.txt"], "no.txt"),
    "alpha": ([*FIT, "--alpha-weight"], "no alpha channel"),
    "start": ([*FIT, "--start-from", "{path}/log.txt"], "unreadable"),
    "vectors": ([*EMBED, "--vectors", "99"], "--vectors"),
    "no vectors": ([*EMBED, "--vectors", "0"], "--vectors"),
    "origin": ([*FIT, "--origin", "x"], "--origin"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_requests_to_fit_exit_2(case, in_process, whole_path, tmp_path):
    arguments, word = WRONG[case]
    if case == "size":
        source = whole_path / "phantom/pictures/cyt_mast"
        assert in_process("trainer", "prepare", source, tmp_path / "other", "--size", 48).returncode == 0
        arguments = ["trainer", "fit", f"{tmp_path}/other/cyt_mast", "--base", "{path}/base"]
    done = in_process(*(argument.format(path=whole_path) for argument in arguments), "--out", tmp_path / "out")
    assert done.returncode == 2, done.stderr
    assert word in done.stderr
    assert "fix:" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_fit_on_other_data_does_not_take_the_old_checkpoint(in_process, whole_path, tmp_path):
    fit = ["trainer", "fit", "--base", whole_path / "base", "--out", tmp_path, "--class", "x", "--steps", 1]
    fit += ["--batch-size", 2, "--resume"]
    assert in_process(*fit, whole_path / "prepared/cyt_mast").returncode == 0
    before = (tmp_path / "x.safetensors").read_bytes()
    assert json.loads((tmp_path / "x.json").read_text())["record"]["pictures"] == 24
    for other in ([whole_path / "prepared/cyt_nep_mast"], [whole_path / "prepared/cyt_mast", "--attribution", "A. B."]):
        done = in_process(*fit, *other)
        assert done.returncode == 2
        assert "checkpoint" in done.stderr
    assert (tmp_path / "x.safetensors").read_bytes() == before


def test_fit_warns_of_pictures_and_a_prompt_that_do_not_suit_the_base(in_process, whole_path, tmp_path):
    base = shutil.copytree(whole_path / "base", tmp_path / "base")
    write_card(BaseCard("tiny", prompts=("cytology",), nucleus_share=(0.001, 0.002, 0.003)), base)
    fit = ["trainer", "fit", whole_path / "prepared/cyt_mast", "--base", base, "--out", tmp_path / "out"]
    done = in_process(*fit, "--steps", 1, "--batch-size", 1, "--preset", "sd15")
    assert done.returncode == 0, done.stderr
    assert "warning: the base does not know the prompt 'cyt mast'" in done.stderr
    assert "0.1% to 0.3% in the base's pictures" in done.stderr
