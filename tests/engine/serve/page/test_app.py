"""The page: its routes, its folder, what it asks for, and how soon it shows."""

from __future__ import annotations

import re
import stat
import urllib.request

import pytest

TABS = ["Generate", "From a picture", "Upscale", "PNG info", "Train", "Merge", "Evaluate", "Settings"]


def opened(url):
    return urllib.request.urlopen(url, timeout=30)  # noqa: S310 - this machine


@pytest.mark.slow
@pytest.mark.parametrize("visit", [1280, 390], indirect=True)
def test_every_tab_opens_without_an_error_or_a_request_to_another_host(visit):
    for name in TABS:
        visit.open(name)
    assert "may be used for diagnosis" in visit.page.locator("#disclaimer").inner_text()
    visit.page.get_by_text("Pictures per request.").wait_for()


def test_the_page_names_no_other_host_in_what_it_loads_first(site):
    """The metadata for social networks in Gradio's page name hosts, but load nothing."""
    with opened(site.url) as answer:
        text, headers = answer.read().decode(), answer.headers
    assert re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(?:https?:)?//', text) == []
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    with opened(f"{site.url}/theme.css") as answer:
        assert "url(http" not in answer.read().decode().replace("'", "").replace(chr(34), "")


def test_the_folder_of_pictures_lies_in_the_data_folder_and_is_private(site):
    folder = site.data / "page"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_page_holds_no_path_of_this_machine(site):
    with opened(site.url) as answer:
        text = answer.read().decode()
    assert str(site.data) not in text
