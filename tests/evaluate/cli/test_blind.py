"""The command `blind`: its page, and the requests that it refuses."""

from __future__ import annotations

from PIL import Image


def test_the_command_writes_a_page_and_replaces_its_own(phantoms, in_process, tmp_path):
    folders = phantoms / "real" / "cyt_mast", phantoms / "synthetic" / "cyt_mast"
    out = tmp_path / "blind.html"
    for seed in (1, 2):
        done = in_process("evaluate", "blind", *folders, "--out", out, "--n", 12, "--seed", seed)
        assert done.returncode == 0, done.stderr
        assert "12 pictures" in done.stdout
    assert out.read_text().count("data:image/png") == 12
    assert "with seed 2" in out.read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["blind.html"]


def test_wrong_requests_exit_2_and_write_nothing(phantoms, in_process, tmp_path):
    folders = phantoms / "real" / "cyt_mast", phantoms / "synthetic" / "cyt_mast"
    (tmp_path / "mine.html").write_text("mine")
    for arguments, words in (
        (("--out", tmp_path / "page.txt"), ".html"),
        (("--out", tmp_path / "mine.html"), "name another file"),
        (("--out", tmp_path / "none" / "page.html"), "create the folder"),
        (("--out", tmp_path / "page.html"), "30 pictures of different sources"),
        (("--out", tmp_path / "page.html", "--n", 5), "even number"),
    ):
        done = in_process("evaluate", "blind", *folders, *arguments)
        assert done.returncode == 2, done.stderr
        assert words in done.stderr
    assert (tmp_path / "mine.html").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.html"]


def test_folders_of_different_formats_are_named(phantoms, in_process, tmp_path):
    (tmp_path / "fake").mkdir()
    for path in (phantoms / "synthetic" / "cyt_mast").iterdir():
        Image.open(path).save(tmp_path / "fake" / f"{path.stem}.jpg")
    done = in_process(
        "evaluate", "blind", phantoms / "real" / "cyt_mast", tmp_path / "fake", "--out", tmp_path / "a.html", "--n", 4
    )
    assert done.returncode == 0, done.stderr
    assert "both passed through JPEG" in done.stderr
