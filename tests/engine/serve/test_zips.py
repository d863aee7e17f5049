import zipfile

from engine.serve.zips import write_zip, zip_pieces

FILES = [("a/0.png", b"first"), ("metadata.jsonl", b"{}\n")]


def test_the_pieces_and_the_file_have_the_same_bytes(tmp_path):
    write_zip(tmp_path / "all.zip", FILES)
    assert b"".join(zip_pieces(iter(FILES))) == (tmp_path / "all.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        assert archive.testzip() is None
        assert [(one.filename, archive.read(one), one.external_attr >> 16) for one in archive.infolist()] == [
            (name, content, 0o644) for name, content in FILES
        ]
