import shutil

import pytest

from engine.errors import RequestError
from engine.serve.service import Drawing, Service
from engine.serve.settings import ServeSettings


def test_the_classes_state_where_they_come_from(service, bundle_name):
    first = service.classes()[0]
    assert (first.bundle, first.name, first.origin, first.licence) == (bundle_name, "cyt_mast", "phantom", "CC0")
    assert first.title == f"{bundle_name} cyt_mast [{service.bundles[bundle_name].sha256[:10]}]"


def test_a_bundle_that_is_added_is_served_at_once_under_a_name_of_its_own(tiny_bundle, bundle_copy, tmp_path):
    service = Service(ServeSettings(bundle=[str(tiny_bundle)], data=tmp_path / "data"))
    name = service.add_bundle(bundle_copy)
    assert name != next(iter(service.bundles))
    assert len(service.classes()) == 4
    assert service.add_bundle(bundle_copy) == name, "the same folder keeps its name"
    assert len(service.submit(Drawing(name, "cyt_mast")).result(60)) == 1
    service.close()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bundle": "other"}, "not served"),
        ({"class_name": "other"}, "not in the bundle"),
        ({"n": 65}, "1 to 64"),
    ],
)
def test_a_wrong_request_is_refused_before_anything_is_written(service, bundle_name, change, words):
    request = Drawing(**{"bundle": bundle_name, "class_name": "cyt_mast", **change})
    with pytest.raises(RequestError, match=words):
        service.submit(request)
    assert list((service.settings.data / "uploads").iterdir()) == []


def test_a_picture_that_is_too_large_is_refused(tiny_bundle, tmp_path, drawing):
    from engine.serve.settings import LimitSettings

    limits = LimitSettings(max_pixels=32 * 32)
    service = Service(ServeSettings(bundle=[str(tiny_bundle)], data=tmp_path, limits=limits))
    with pytest.raises(RequestError, match="number of pixels"):
        service.submit(drawing(hires_scale=2.0))
    service.close()


def test_an_upload_is_a_private_file_that_is_removed(service):
    with service.upload(b"content") as path:
        assert path.read_bytes() == b"content"
        assert path.is_relative_to(service.settings.data)
        assert path.parent.stat().st_mode & 0o077 == 0
    assert not path.exists()


def test_a_bundle_that_is_missing_is_refused(tmp_path):
    with pytest.raises(RequestError, match="no such folder"):
        Service(ServeSettings(bundle=[str(tmp_path / "missing")], data=tmp_path / "data"))
    shutil.rmtree(tmp_path / "data", ignore_errors=True)
