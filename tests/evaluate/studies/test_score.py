"""`score`: floor, intervals and controls, what they can tell, and what is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from engine.errors import RequestError
from evaluate.encoders.features import CYTO, Cyto, blurred_features, features_of, open_encoders
from evaluate.images import open_folder
from evaluate.metrics.registry import METRICS
from evaluate.studies.score import Compared, compare_folders, not_measured, sample_size, score
from trainer.pictures.phantom import draw


def test_the_encoders_features_do_not_depend_on_the_batch():
    encoder = Cyto()
    pictures = np.stack([draw("cyt_mast", seed, encoder.size)[0] for seed in range(5)])
    whole = encoder(pictures)
    assert whole["features"].shape == (5, encoder.record["features"])
    assert whole["logits"].shape == (5, len(encoder.record["classes"]))
    for layer, values in whole.items():
        np.testing.assert_allclose(encoder(pictures[1:3])[layer], values[1:3], rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(encoder(pictures)[layer], values)


def test_a_changed_encoder_is_refused(tmp_path):
    content = bytearray(CYTO.with_suffix(".onnx").read_bytes())
    content[1000] ^= 1
    (tmp_path / "cyto.onnx").write_bytes(content)
    (tmp_path / "cyto.json").write_bytes(CYTO.read_bytes())
    with pytest.raises(RequestError, match="SHA-256"):
        Cyto(tmp_path / "cyto.json")


def test_the_encoder_says_whose_pictures_taught_it():
    record = Cyto().record
    assert "Acevedo" in record["attribution"]
    assert "CC BY 4.0" in record["attribution"]
    assert record["validation_accuracy"] > 0.85


def test_auto_says_that_inception_is_not_here(monkeypatch, tmp_path):
    monkeypatch.delenv("CYTOSYNTH_INCEPTION", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    encoders, said = open_encoders("auto")
    assert [encoder.name for encoder in encoders] == ["cyto"]
    assert "FID, IS and KID were not measured" in said[0]
    with pytest.raises(RequestError, match="evaluate weights"):
        open_encoders("inception")
    monkeypatch.setenv("CYTOSYNTH_INCEPTION", str(CYTO))
    with pytest.raises(RequestError, match="SHA-256"):
        open_encoders("auto")
    with pytest.raises(RequestError, match="--features"):
        open_encoders("dino")


def gaussians(seed: int, n: int, mean: float = 0.0):
    rng = np.random.default_rng(seed)
    layers = {"features": 8, "logits": 6}
    return {name: mean + rng.standard_normal((n, width)) for name, width in layers.items()}


def compared(fake_mean: float = 0.0, blurred_mean: float = 2.0, n: int = 400, other: bool = True) -> Compared:
    return Compared(
        gaussians(0, n),
        gaussians(1, n, blurred_mean),
        gaussians(2, n, fake_mean),
        gaussians(3, n, -2.0) if other else None,
        [str(i) for i in range(n)],
    )


def test_a_good_generator_scores_at_the_floor_and_a_bad_one_above_every_interval():
    settings = {"n": 150, "splits": 6, "bootstrap": 30}
    good, bad = (score("cyto", compared(mean), **settings) for mean in (0.0, 1.0))
    for name in ("FD-cyto", "KD-cyto"):
        assert good[name].fake.value < 2 * good[name].floor.high
        assert bad[name].fake.low > 3 * bad[name].floor.high
        assert all(good[name].clear.values())
    assert good["recall-cyto"].fake.value > 0.7 > bad["recall-cyto"].fake.value
    assert not good["recall-cyto"].clear
    for name, found in good.items():
        assert found.fake.low <= found.fake.value <= found.fake.high
        if name.startswith(("precision", "recall", "coverage")):
            assert found.fake.low >= 0
            assert found.fake.high <= 1


@pytest.mark.parametrize("fakes", [40, 120])
def test_the_interval_is_as_wide_as_the_figure_varies(fakes):
    """Over fresh pictures of the same two distributions: neither too sure nor too careful, and about the truth."""
    found = []
    for seed in range(24):
        rng = np.random.default_rng(1000 + seed)
        drawn = (rng.standard_normal((80, 4)), 0.7 + rng.standard_normal((fakes, 4)))
        real, fake = ({"features": values, "logits": values} for values in drawn)
        pictures = Compared(real, real, fake, None, [str(i) for i in range(80)])
        found.append(score("cyto", pictures, n=40, splits=6, bootstrap=40))
    for name in ("FD-cyto", "KD-cyto", "recall-cyto"):
        figures = [scores[name].fake for scores in found]
        spread = np.ptp(np.percentile([figure.value for figure in figures], [5, 95]))
        assert 0.6 < np.mean([figure.high - figure.low for figure in figures]) / spread < 1.7
        truth = np.mean([figure.value for figure in figures])
        assert sum(figure.low <= truth <= figure.high for figure in figures) >= 17


def test_a_control_that_looks_like_the_floor_makes_the_figure_insensitive():
    found = score("cyto", compared(blurred_mean=0.0, other=False), n=100, splits=6, bootstrap=20)
    for name in ("FD-cyto", "KD-cyto"):
        assert found[name].clear["blurred reals"] is False
        assert found[name].sensitive is False
        assert "another class" not in found[name].controls


def test_ten_repeated_reals_are_no_control_of_few(phantoms, in_process):
    assert "ten repeated reals" not in score("cyto", compared(n=38), n=19, splits=2, bootstrap=20)["FD-cyto"].controls
    assert "ten repeated reals" in score("cyto", compared(n=40), n=20, splits=2, bootstrap=20)["FD-cyto"].controls
    folders = phantoms / "real" / "cyt_mast", phantoms / "synthetic" / "cyt_mast"
    done = in_process("evaluate", "score", *folders, "--bootstrap", 20, "--features", "cyto")
    assert "it needs N of at least 20" in done.stdout


def test_fewer_pictures_than_n_are_refused():
    few = replace(compared(n=60), fake=gaussians(2, 10))
    with pytest.raises(RequestError, match="10 synthetic"):
        score("cyto", few, n=30)


def test_the_output_calls_a_blind_feature_set_insensitive(phantoms, in_process, tmp_path):
    """Its own real pictures as the other class: nothing could tell them apart."""
    shutil.copytree(phantoms / "real" / "cyt_mast", tmp_path / "other")
    for path in (tmp_path / "other").iterdir():
        Image.open(path).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)
    folders = phantoms / "real" / "cyt_mast", phantoms / "synthetic" / "cyt_mast"
    done = in_process("evaluate", "score", *folders, "--other", tmp_path / "other", "--bootstrap", 20)
    assert done.returncode == 0, done.stderr
    assert "The feature set cyto is INSENSITIVE for these pictures: FD-cyto does not tell" in done.stdout
    assert "another class" in done.stdout.partition("INSENSITIVE")[2]


def test_copies_of_one_source_never_stand_on_both_sides():
    """Ten sources, each ten times: were they split as pictures, the floor would be nearly zero."""
    real = {name: np.repeat(values, 10, axis=0) for name, values in gaussians(0, 10).items()}
    together = Compared(real, real, gaussians(2, 50), None, np.repeat(np.arange(10), 10).astype(str).tolist())
    apart = Compared(real, real, gaussians(2, 50), None, [str(i) for i in range(100)])
    floors = [score("cyto", one, n=50, splits=6, bootstrap=20)["FD-cyto"].floor for one in (together, apart)]
    assert floors[0].low > 3 * floors[1].high
    assert sample_size(together.sources, 50, None, None) == 50


def test_the_seed_decides_every_figure():
    settings = {"n": 20, "splits": 3, "bootstrap": 20}
    first, again, other = (score("cyto", compared(n=60), seed=seed, **settings) for seed in (1, 1, 2))
    assert first == again != other


def test_n_is_what_every_figure_can_have():
    def sources(n):
        return [str(i) for i in range(n)]

    assert sample_size(sources(600), 1000, 200, None) == 200
    assert sample_size(sources(301), 1000, None, None) == 150
    assert sample_size(["a"] * 9 + ["b", "c", "d"], 1000, None, None) == 2
    for arguments in ((3, 100, None, None), (100, 100, None, 51), (100, 100, 30, 31), (100, 100, None, 1)):
        with pytest.raises(RequestError, match="number of pictures"):
            sample_size(sources(arguments[0]), *arguments[1:])


def test_figures_that_need_more_pictures_say_so_and_the_rest_are_measured():
    assert set(score("cyto", compared(n=10), n=5, splits=2, bootstrap=20)) == {"FD-cyto", "KD-cyto", "IS-cyto-1"}
    said = not_measured("cyto", 5)
    assert said["IS-cyto-10"] == "needs 10 pictures; N is 5"
    assert said["recall-cyto"] == "needs 6 pictures; N is 5"
    names = {name for metric in METRICS["inception"] for name in metric.definitions}
    assert {"FID-64", "FID-2048", "KID", "IS-1", "IS-10", "precision-inception"} <= names


def test_every_folder_is_what_it_says(phantoms):
    real, fake = (open_folder(phantoms / name / "cyt_mast") for name in ("real", "synthetic"))
    encoder = Cyto()
    found = compare_folders(encoder, real, fake, None)
    np.testing.assert_array_equal(found.fake["features"], features_of(encoder, fake)["features"])
    np.testing.assert_array_equal(found.blurred["features"], blurred_features(encoder, real)["features"])
    assert len(found.real["features"]) == len(found.sources) == 24


def test_the_command_prints_one_object(phantoms, in_process, tmp_path):
    real = phantoms / "real" / "cyt_mast"
    arguments = (
        "--other",
        phantoms / "real" / "cyt_kist_mast",
        "--splits",
        10,
        "--bootstrap",
        20,
        "--features",
        "cyto",
    )
    done = in_process(
        "evaluate", "score", real, phantoms / "synthetic" / "cyt_mast", *arguments, "--out", tmp_path / "out", "--json"
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["results"]["n"] == 12
    figures = found["results"]["figures"]["FD-cyto"]
    assert set(figures["controls"]) == {"blurred reals", "another class"}
    assert figures["controls"]["another class"]["value"] > figures["fake"]["value"]
    assert set(found["results"]["figures"]) <= set(found["definitions"])
    assert found["inputs"]["REAL"]["sha256"] == open_folder(real).sha256
    assert "warning: N is 12" in done.stderr
    kept = json.loads((tmp_path / "out" / "record.json").read_text())
    assert kept["results"] == found["results"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert all((tmp_path / "out" / image["file"]).is_file() for image in kept["images"])


def test_the_table_names_floor_controls_definitions_and_verdict(phantoms, in_process):
    real = phantoms / "real" / "cyt_mast"
    done = in_process("evaluate", "score", real, phantoms / "synthetic" / "cyt_mast", "--bootstrap", 20)
    assert done.returncode == 0, done.stderr
    for words in ("floor (real)", "blurred reals", "give --other DIR", "not FID", "[5 %, 95 %]"):
        assert words in done.stdout


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--n", 13], "--n 13"),
        (["--features", "dino"], "--features"),
        (["--other", "evaluate"], "no picture directly in it"),
    ],
)
def test_wrong_requests_exit_2(arguments, word, phantoms, in_process):
    folders = phantoms / "real" / "cyt_mast", phantoms / "synthetic" / "cyt_mast"
    done = in_process("evaluate", "score", *folders, *arguments)
    assert done.returncode == 2, done.stderr
    for part in ("found:", "expected:", "fix:", word):
        assert part in done.stderr


def test_options_out_of_range_exit_2(phantoms, in_process):
    folders = phantoms / "real" / "cyt_mast", phantoms / "synthetic" / "cyt_mast"
    for arguments in (("--splits", 9), ("--bootstrap", 5), ("--seed", -1)):
        done = in_process("evaluate", "score", *folders, *arguments)
        assert done.returncode == 2
        assert arguments[0] in done.stderr


def grey(folder):
    Image.open(folder / "0100.png").convert("L").save(folder / "0100.png")


def corrupt(folder):
    (folder / "0100.png").write_bytes((folder / "0100.png").read_bytes()[:99])


def transparent(folder):
    Image.new("RGBA", (64, 64), (9, 90, 200, 3)).save(folder / "0100.png")


@pytest.mark.parametrize("damage", [grey, corrupt, transparent])
def test_wrong_pictures_exit_2_and_are_named(damage, phantoms, in_process, tmp_path):
    fake = shutil.copytree(phantoms / "synthetic" / "cyt_mast", tmp_path / "fake")
    damage(fake)
    done = in_process("evaluate", "score", phantoms / "real" / "cyt_mast", fake, "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "0100.png" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written_to_exits_2_at_once(phantoms, in_process, tmp_path):
    (tmp_path / "file").write_text("")
    folders = phantoms / "real" / "cyt_mast", phantoms / "synthetic" / "cyt_mast"
    done = in_process("evaluate", "score", *folders, "--out", tmp_path / "file" / "record")
    assert done.returncode == 2
    assert "no folder that can be written to" in done.stderr


def test_features_are_read_a_batch_at_a_time(phantoms):
    """Never more pictures in memory than one batch."""
    folder = open_folder(phantoms / "real" / "cyt_mast")
    seen = []

    class Watched(Cyto):
        def __call__(self, pictures):
            seen.append(len(pictures))
            return super().__call__(pictures)

    features = features_of(Watched(), folder)
    assert seen == [16, 8]
    assert len(features["features"]) == 24


def test_pictures_that_say_they_are_synthetic_are_not_taken_for_real(phantoms, in_process, tmp_path):
    """The text chunk of the engine's PNG files."""
    made = shutil.copytree(phantoms / "synthetic" / "cyt_mast", tmp_path / "made")
    info = PngInfo()
    info.add_itxt("cytosynth", "{}")
    Image.open(made / "0100.png").save(made / "0100.png", pnginfo=info)
    real = phantoms / "real" / "cyt_mast"
    for arguments in ((made, real), (real, phantoms / "real" / "cyt_kist_mast", "--other", made)):
        done = in_process("evaluate", "score", *arguments)
        assert done.returncode == 2
        assert "1 of 12 pictures say that they are synthetic" in done.stderr
    assert in_process("evaluate", "score", real, made, "--features", "cyto").returncode == 0


def test_the_same_folder_twice_exits_2(phantoms, in_process):
    done = in_process("evaluate", "score", phantoms / "real" / "cyt_mast", phantoms / "real" / "cyt_mast")
    assert done.returncode == 2
    assert "REAL and FAKE" in done.stderr
    assert "one folder" in done.stderr


def test_a_record_of_another_kind_is_not_replaced(phantoms, in_process, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    folders = phantoms / "real" / "cyt_mast", phantoms / "synthetic" / "cyt_mast"
    done = in_process("evaluate", "score", *folders, "--out", tmp_path)
    assert done.returncode == 2
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_an_older_record_is_replaced_and_what_lies_beside_it_stays(phantoms, in_process, tmp_path):
    folders = phantoms / "real" / "cyt_mast", phantoms / "synthetic" / "cyt_mast"
    for seed in (1, 2):
        done = in_process("evaluate", "score", *folders, "--bootstrap", 20, "--seed", seed, "--out", tmp_path / "out")
        assert done.returncode == 0, done.stderr
        (tmp_path / "out" / "mine.txt").write_text("mine")
    assert json.loads((tmp_path / "out" / "record.json").read_text())["results"]["seed"] == 2
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"mine.txt", "real.png", "synthetic.png", "record.json"}


def test_scores_are_plain_values():
    found = score("cyto", compared(n=40), n=12, splits=2, bootstrap=20)
    assert json.loads(json.dumps({name: one.as_facts() for name, one in found.items()}))
