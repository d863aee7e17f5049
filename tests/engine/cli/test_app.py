"""The commands that show a bundle, a run and this machine: info, verify, sheet, doctor."""

from __future__ import annotations

import json


def test_doctor_names_every_backend(command, in_process):
    done = command("engine", "doctor", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    states = {status["name"]: status for status in found["backends"]}
    assert states.keys() == {"openvino", "onnxruntime", "tensorrt"}
    assert states["openvino"]["usable"]
    assert all(status["detail"] and "pip install" in status["install"] for status in states.values())
    assert found["auto"] == "openvino"
    assert "cytosynth[cuda]" in in_process("engine", "doctor").stdout.replace("\n", "")


def test_info_verify_and_sheet(in_process, tiny_bundle, tmp_path):
    info = in_process("engine", "info", tiny_bundle, "--json")
    assert info.returncode == 0
    facts = json.loads(info.stdout)
    assert facts["classes"]["cyt_mast"] == {
        "trained_on": "phantom",
        "pictures": 24,
        "licence": "CC0",
        "attribution": "drawn by cytosynth",
        "base": "not stated",
    }
    assert "no patient data" in in_process("engine", "info", tiny_bundle).stdout
    assert json.loads(in_process("engine", "verify", tiny_bundle, "--json").stdout)["ok"] is True
    out = tmp_path / "out"
    arguments = ["--bundle", tiny_bundle, "--class", "all", "--n", 2, "--steps", 1, "--out", out]
    assert in_process("engine", "generate", *arguments).returncode == 0
    drawn = (out / "sheet.png").read_bytes()
    (out / "sheet.png").unlink()
    assert in_process("engine", "sheet", out).returncode == 0
    assert (out / "sheet.png").read_bytes() == drawn
