from engine.serve.sdapi.lists import lists_of


def test_the_lists_have_the_keys_that_clients_read(service):
    lists = {name: make() for name, make in lists_of(service).items()}
    keys = {"title", "model_name", "hash", "sha256", "filename", "config"}
    assert [one.keys() for one in lists["sd-models"]] == [keys] * 2
    assert [one["name"] for one in lists["upscalers"]][:3] == ["None", "Lanczos", "Nearest"]
    samplers = {one["name"]: one for one in lists["samplers"]}
    assert "k_euler_a" in samplers["Euler a"]["aliases"]
    assert samplers["DPM++ 2M"]["options"] == {"scheduler": "karras"}
    assert {"automatic", "karras", "normal", "uniform", "exponential"} <= {one["name"] for one in lists["schedulers"]}
    assert len({one["title"] for one in lists["sd-models"]}) == 2
