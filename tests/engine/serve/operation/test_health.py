"""Health and readiness."""

from starlette.applications import Starlette
from starlette.testclient import TestClient

from engine.serve.operation.health import add_health, has_room


def test_a_server_is_ready_if_every_check_holds():
    checks = {"drawing": True, "store": True}
    app = Starlette()
    add_health(app, {name: lambda name=name: checks[name] for name in checks})
    client = TestClient(app)
    assert client.get("/readyz").json() == {"status": "ready", "checks": {"drawing": True, "store": True}}
    checks["store"] = False
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "not ready")
    assert client.get("/healthz").json() == {"status": "ok"}


def test_a_missing_folder_has_no_room(tmp_path):
    assert has_room(tmp_path)
    assert not has_room(tmp_path / "none")
