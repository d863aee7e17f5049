import pytest

from engine.errors import RequestError
from engine.serve.encoding import decoded, encoded

CONTENT = bytes(range(256)) + b"x"


@pytest.mark.parametrize("lenient", [True, False])
def test_a_file_is_read_as_it_was_written(lenient):
    text = encoded(CONTENT)
    assert decoded(text, "image", lenient=lenient) == CONTENT
    assert decoded(f"data:image/png;base64,{text}", "image", lenient=lenient) == CONTENT


def test_only_a_lenient_reader_passes_over_spaces_and_missing_padding():
    text = encoded(CONTENT).rstrip("=")
    assert decoded(f" {text[:9]}\n{text[9:]}", "image", lenient=True) == CONTENT
    with pytest.raises(RequestError, match="no base64"):
        decoded(text, "image")


@pytest.mark.parametrize("address", ["http://127.0.0.1/x.png", "FILE:///etc/passwd", "https://example.org"])
def test_an_address_is_refused(address):
    with pytest.raises(RequestError, match="a URL"):
        decoded(address, "image", lenient=True)
