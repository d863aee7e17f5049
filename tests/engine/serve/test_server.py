import socket

import pytest

from engine.errors import RequestError
from engine.serve.server import serve
from engine.serve.settings import ServeSettings


def test_another_host_needs_passwords_or_a_clear_word(tiny_bundle, tmp_path):
    settings = ServeSettings(bundle=[str(tiny_bundle)], data=tmp_path / "data", host="192.168.0.1")
    with pytest.raises(RequestError, match="--no-auth"):
        serve(settings)
    assert not (tmp_path / "data").exists()


def test_a_port_that_is_taken_is_refused(tiny_bundle, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(RequestError, match=f"--port {port}"):
            serve(ServeSettings(bundle=[str(tiny_bundle)], data=tmp_path / "data", port=port))
