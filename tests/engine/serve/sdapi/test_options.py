import pytest

from engine.errors import RequestError
from engine.serve.sdapi.errors import ApiError
from engine.serve.sdapi.options import Options


@pytest.fixture
def options(service):
    return Options(service)


def test_all_options_can_be_posted_back(options):
    before = options.all()
    options.change(before)
    assert options.all() == before
    assert before["samples_format"] == "png"
    assert not {"forge_preset", "use_scale_latent_for_hires_fix"} & before.keys()
    assert not [name for name in before if "_sep_" in name]


def test_a_change_lasts_and_one_that_is_refused_changes_nothing(options):
    options.change({"sd_model_checkpoint": "cyt_nep_mast", "CLIP_stop_at_last_layers": "2"})
    assert options.all()["CLIP_stop_at_last_layers"] == 2
    before = options.all()
    for wrong, words in (
        ({"CLIP_stop_at_last_layers": 1, "emphasis": "None"}, "Valid values: Original, No norm"),
        ({"eta_noise_seed_delta": 31337}, "Valid values: 0"),
        ({"no_such_option": 1}, "Unknown options: no_such_option"),
        ({"sd_model_checkpoint": "other"}, "not found"),
    ):
        with pytest.raises(ApiError, match=words) as refused:
            options.change(wrong)
        assert refused.value.status == 422
        assert options.all() == before


def test_overrides_hold_for_one_request_or_stay(options):
    first = options.all()["sd_model_checkpoint"]
    values = {"sd_model_checkpoint": "cyt_nep_mast", "randn_source": "NV", "emphasis": "No norm", "other": 1}
    chosen, warnings = options.chosen(values, keep=False)
    assert chosen.served.name == "cyt_nep_mast"
    assert chosen.settings() == {
        "clip_skip": 1,
        "emphasis": "no_norm",
        "rng": "nv",
        "sampler": None,
        "num_inference_steps": None,
        "preset": None,
    }
    assert warnings == ["override_settings.other is not supported"]
    assert options.all()["sd_model_checkpoint"] == first
    _, warnings = options.chosen({"live_previews_enable": True}, keep=False)
    assert warnings == ["override_settings.live_previews_enable holds for the whole server: set it as an option"]
    options.chosen({"sd_hypernetwork": "cyt_nep_mast"}, keep=True)
    assert "cyt_nep_mast" in options.all()["sd_model_checkpoint"]


def test_a_preset_of_one_request_comes_before_the_options_of_the_server(service):
    options = Options(service)
    options.change({"cytosynth_sampler": "Euler a", "cytosynth_steps": 7})
    chosen, warnings = options.chosen({"cytosynth_preset": "fast"}, keep=False)
    assert (chosen.preset, chosen.sampler, chosen.steps, warnings) == ("fast", None, None, [])
    # What the request itself states counts, also if it equals the option.
    chosen, _ = options.chosen({"cytosynth_preset": "fast", "cytosynth_steps": 7}, keep=False)
    assert (chosen.sampler, chosen.steps) == (None, 7)
    chosen, warnings = options.chosen({"cytosynth_preset": "fast"}, keep=True)
    assert (chosen.preset, warnings) == ("fast", ["override_settings.cytosynth_preset holds for this request alone"])
    assert options.chosen({}, keep=False)[0].preset is None
    with pytest.raises(ApiError, match="only a request can state it"):
        options.change({"cytosynth_preset": "fast"})
    with pytest.raises(ApiError, match="not the name of a preset"):
        options.chosen({"cytosynth_preset": ["fast"]}, keep=False)


def test_options_survive_a_restart_in_a_file_of_their_owner(service, tmp_path):
    file = tmp_path / "options.json"
    first = Options(service, file)
    assert not file.exists()
    first.change({"sd_model_checkpoint": "cyt_nep_mast", "cytosynth_sampler": "Euler a", "cytosynth_steps": "7"})
    assert file.stat().st_mode & 0o777 == 0o600
    again = Options(service, file)
    assert again.all() == first.all()
    chosen, _ = again.chosen({}, keep=False)
    assert (chosen.served.name, chosen.sampler, chosen.steps) == ("cyt_nep_mast", "euler_a", 7)


def test_a_class_that_is_not_served_now_is_kept_for_later(service, tmp_path):
    file = tmp_path / "options.json"
    file.write_text('{"sd_model_checkpoint": "gone [0123456789]", "emphasis": "No norm"}')
    options = Options(service, file)
    assert "cyt_mast" in options.all()["sd_model_checkpoint"]
    options.change({"emphasis": "Original"})
    assert "gone [0123456789]" in file.read_text()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"no_such": 1}', "unknown options: 'no_such'"),
        ('{"emphasis": "None"}', "Valid values: Original, No norm"),
        ('{"sd_model_checkpoint": 3}', "sd_model_checkpoint with a value of the type int"),
        ('{"eta_noise_seed_delta": 31337}', "eta_noise_seed_delta"),
    ],
)
def test_a_file_with_wrong_options_is_refused_by_name(service, tmp_path, content, words):
    file = tmp_path / "options.json"
    file.write_text(content)
    with pytest.raises(RequestError, match=r"options\.json") as error:
        Options(service, file)
    assert words in error.value.found
    assert str(tmp_path) not in str(error.value)
