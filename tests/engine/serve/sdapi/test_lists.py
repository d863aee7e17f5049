from engine.serve.sdapi.lists import lists_of

WEBUI_SAMPLERS = {
    *("DPM++ 2M", "DPM++ SDE", "DPM++ 2M SDE", "DPM++ 2M SDE Heun", "DPM++ 2S a", "DPM++ 3M SDE", "Euler a", "Euler"),
    *("LMS", "Heun", "DPM2", "DPM2 a", "DPM fast", "Restart", "DDIM", "DDIM CFG++", "PLMS", "UniPC", "LCM"),
}
"""The samplers of AUTOMATIC1111's WebUI 1.10.1 except DPM adaptive."""
WEBUI_SCHEDULES = {
    *("Automatic", "Uniform", "Karras", "Exponential", "Polyexponential", "SGM Uniform", "KL Optimal"),
    *("Align Your Steps", "Simple", "Normal", "Beta"),
}


def test_the_lists_have_the_keys_that_clients_read(service):
    lists = {name: make() for name, make in lists_of(service).items()}
    keys = {"title", "model_name", "hash", "sha256", "filename", "config"}
    assert [one.keys() for one in lists["sd-models"]] == [keys] * 2
    assert [one["name"] for one in lists["upscalers"]][:3] == ["None", "Lanczos", "Nearest"]
    samplers = {one["name"]: one for one in lists["samplers"]}
    assert "k_euler_a" in samplers["Euler a"]["aliases"]
    assert samplers["DPM++ 2M"]["options"] == {"scheduler": "karras"}
    assert samplers.keys() >= WEBUI_SAMPLERS
    labels = {one["label"] for one in lists["schedulers"]}
    assert labels >= WEBUI_SCHEDULES
    assert {"automatic", "karras", "normal", "uniform", "exponential"} <= {one["name"] for one in lists["schedulers"]}
    assert len({one["title"] for one in lists["sd-models"]}) == 2
