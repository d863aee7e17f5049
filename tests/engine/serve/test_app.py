from dataclasses import replace

from tests.engine.serve.conftest import running


def test_long_answers_are_compressed_and_a_trailing_slash_is_forgiven(live):
    assert live.get("/sdapi/v1/options").headers["content-encoding"] == "gzip"
    found = live.post("/sdapi/v1/options/", {})
    assert [one.status_code for one in (*found.history, found)] == [307, 200]


def test_an_unknown_route_is_answered_as_clients_expect(live):
    found = live.get("/sdapi/v1/nothing")
    assert (found.status_code, found.json()) == (404, {"detail": "Not Found"})


def test_pages_of_named_origins_may_use_the_api(live, tmp_path):
    settings = replace(live.service.settings, cors=["http://page.test"], data=tmp_path)
    with running(settings) as other:
        found = other.get("/sdapi/v1/progress", headers={"Origin": "http://page.test"})
        assert found.headers["access-control-allow-origin"] == "http://page.test"
    assert "access-control-allow-origin" not in live.get("/internal/ping", headers={"Origin": "http://p.test"}).headers
