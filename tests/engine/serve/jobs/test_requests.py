"""What a client may state, and the checked job that is made of it."""

import base64
import io

import pytest
from PIL import Image
from pydantic import ValidationError

from engine.bundle.folder import open_bundle
from engine.bundle.settings import HardwareSettings
from engine.errors import RequestError
from engine.serve.jobs.requests import JobRequest, Place, bytes_of, make_checked_job, write_initial
from engine.serve.settings import LimitSettings

ONE = {"cyt_mast": 3}


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path, HardwareSettings(threads=1), LimitSettings(job_pictures=10, max_pixels=5000))


@pytest.fixture
def made(tiny_bundle, place):
    def make(classes=ONE, **settings):
        request = JobRequest(classes=classes, settings=settings)
        return make_checked_job(open_bundle(str(tiny_bundle)), request.classes, request.stated(), place).request

    return make


def png(size=32, colour="red"):
    file = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_settings_are_those_of_the_command_line_on_the_servers_hardware(made):
    request = made(num_inference_steps=3, sampler="ddim", guidance_interval=[0.5, 5], seed=4, batch_size=2)
    assert (request.num_inference_steps, request.sampler, request.seed, request.batch_size) == (3, "ddim", 4, 2)
    assert request.guidance_interval == (0.5, 5.0)
    assert (request.threads, request.counts) == (1, (3,))


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"classes": {}},
        {"classes": {"cyt_mast": 0}},
        {"classes": {"cyt_mast": "many"}},
        {"classes": ONE, "out": "/etc"},
        {"classes": ONE, "settings": {"init": "/etc/passwd"}},
        {"classes": ONE, "settings": {"mask": "/etc/passwd"}},
        {"classes": ONE, "settings": {"threads": 4}},
        {"classes": ONE, "settings": {"backend": "tensorrt"}},
        {"classes": ONE, "settings": {"guidance_scale": float("nan")}},
        {"classes": ONE, "settings": {"prompt": "\ud800"}},
        {"classes": ONE, "settings": {"prompt": "a\0b"}},
        {"classes": {"\udfff": 1}},
    ],
)
def test_no_path_no_hardware_and_no_unknown_field_may_be_stated(body):
    with pytest.raises(ValidationError):
        JobRequest.model_validate(body)


@pytest.mark.parametrize(
    ("classes", "settings", "words"),
    [
        ({"nobody": 1}, {}, "nobody"),
        ({"cyt_mast": 6, "cyt_nep_mast": 6}, {}, "number of pictures"),
        (ONE, {"width": 128, "height": 128}, "pixels"),
        (ONE, {"sampler": "none"}, "--sampler"),
        (ONE, {"strength": 0.5}, "--init"),
        (ONE, {"precision": "f8"}, "--precision"),
        (ONE, {"seed": 10**30}, "seed"),
    ],
)
def test_a_wrong_value_is_named(made, classes, settings, words):
    with pytest.raises(RequestError) as error:
        made(classes, **settings)
    assert words in str(error.value)


def test_initial_pictures_come_in_base64(made, place):
    request = JobRequest(classes=ONE, init_images=[png(), f"data:image/png;base64,{png(colour='blue')}"], mask=png())
    write_initial(request, place.folder)
    found = made(strength=0.5).initial
    assert found.strength == 0.5
    assert found.masked
    assert len(found.sha256) == 64


@pytest.mark.parametrize("text", ["http://evil.example/a.png", "file:///etc/passwd", "/etc/passwd", "!", "data:,é"])
def test_an_address_or_path_is_no_picture(text, place):
    with pytest.raises(RequestError, match="base64"):
        write_initial(JobRequest(classes=ONE, init_images=[text]), place.folder)


def test_a_file_that_is_no_picture_is_refused(made, place):
    write_initial(JobRequest(classes=ONE, init_images=[base64.b64encode(b"GIF89a nothing").decode()]), place.folder)
    with pytest.raises(RequestError):
        made()


def test_the_size_of_a_job_is_known_before(tiny_bundle, place):
    job = make_checked_job(open_bundle(str(tiny_bundle)), ONE, {}, place)
    assert bytes_of(job) == 3 * 32 * 32 * 1.5
