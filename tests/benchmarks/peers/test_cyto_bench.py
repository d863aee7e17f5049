"""cyto_bench as a peer, with a stand-in for the program."""

from __future__ import annotations

import json
import sys

import pytest

PROGRAM = """#!{python}
import json, sys
asked = dict(zip(sys.argv[1::2], sys.argv[2::2]))
assert asked["--class"] == "cyt_mast" and int(asked["--batch"]) * int(asked["--streams"]) == 2
if {code}: sys.exit("error: the latents differ")
rate = {{"trajectory": 4.0, "decode": 8.0}}[asked["--mode"]]
json.dump({{"results": [{{"pictures_per_second": rate}}]}}, open(asked["--json"], "w"))
"""


def program(folder, code):
    """A stand-in for cyto_bench that denoises 4 pictures a second and decodes 8, or finds that it differs."""
    path = folder / "cyto_bench"
    path.write_text(PROGRAM.format(python=sys.executable, code=code))
    path.chmod(0o755)
    return path


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of diffusers' scheduler
def test_cyto_bench_is_a_system_unless_it_finds_that_it_differs(in_process, whole_path, tiny_bundle, tmp_path):
    options = [
        "--merged",
        whole_path / "merged/cyt_mast",
        "--batch-size",
        2,
        "--steps",
        3,
        "--rounds",
        2,
        "--threads",
        1,
        "--json",
        "--system",
        "cyto",
        "--cyto-bench",
    ]
    for code in (0, 1):
        done = in_process("benchmarks", "peers", tiny_bundle, *options, program(tmp_path, code))
        assert done.returncode == 0, done.stderr
        (row,) = json.loads(done.stdout)["compared"]
        name = "cyto_bench f32, no PNG files"
        if code:
            assert "the latents differ" in row["not_measured"][name]
            assert name not in row["seconds"]
        else:
            assert row["seconds"][name] == [0.75, 0.75]
