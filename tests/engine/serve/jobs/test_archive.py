"""Archives, read by the programs that users have."""

import io
import json
import tarfile
import zipfile

import pytest
import webdataset

from engine.serve.jobs.archive import tar_of, zip_of
from tests.engine.folders import contents

NAMES = ["cyt_mast", "cyt_nep_mast"]


def extracted(archive, folder):
    archive.extractall(folder)  # noqa: S202
    return contents(folder)


def test_a_tar_and_a_zip_hold_the_files_of_the_run(run_folder, tmp_path):
    with tarfile.open(fileobj=io.BytesIO(b"".join(tar_of(run_folder, "imagefolder", NAMES, 1e9)))) as tar:
        assert tar.getmember("run.json").mtime == 1e9
        tar.extractall(tmp_path / "tar", filter="data")
    with zipfile.ZipFile(io.BytesIO(b"".join(zip_of(run_folder)))) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path / "zip")  # noqa: S202
    assert contents(tmp_path / "tar") == contents(tmp_path / "zip") == contents(run_folder)


def test_the_same_pictures_make_the_same_bytes(run_folder):
    assert b"".join(zip_of(run_folder)) == b"".join(zip_of(run_folder))
    tar = b"".join(tar_of(run_folder, "webdataset", NAMES, 1e9))
    assert tar == b"".join(tar_of(run_folder, "webdataset", NAMES, 1e9))
    assert len(tar) % tarfile.RECORDSIZE == 0


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_webdataset_reads_the_other_layout(run_folder, tmp_path):
    path = tmp_path / "shard.tar"
    path.write_bytes(b"".join(tar_of(run_folder, "webdataset", NAMES, 1e9)))
    samples = list(webdataset.WebDataset(str(path), shardshuffle=False))
    assert [(one["__key__"], int(one["cls"])) for one in samples] == [
        (f"{name}_{i:06d}", label) for label, name in enumerate(NAMES) for i in range(3)
    ]
    assert samples[1]["png"] == (run_folder / "cyt_mast/000001.png").read_bytes()
    assert json.loads(samples[1]["json"])["seed"] == 8


def test_a_run_without_pictures_is_an_empty_archive(tmp_path):
    with tarfile.open(fileobj=io.BytesIO(b"".join(tar_of(tmp_path, "imagefolder", NAMES, 0)))) as tar:
        assert tar.getnames() == ["metadata.jsonl"]
