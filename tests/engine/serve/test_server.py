import pytest

from engine.errors import RequestError
from engine.serve.server import check_host
from engine.serve.settings import ServeSettings


def test_another_host_needs_passwords_or_a_clear_word(tmp_path):
    for settings in (
        ServeSettings(),
        ServeSettings(host="::1"),
        ServeSettings(host="0.0.0.0", no_auth=True),  # noqa: S104
        ServeSettings(host="0.0.0.0", auth=tmp_path / "users"),  # noqa: S104
    ):
        check_host(settings)
    with pytest.raises(RequestError, match="--no-auth"):
        check_host(ServeSettings(host="192.168.0.1"))
