"""One server with the page, on the tiny bundle, and a browser."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.serve.service import Drawing, Service
from engine.serve.settings import ServeSettings
from tests.conftest import ROOT
from tests.evaluate.report.browser import CHROMIUM


@dataclass(frozen=True)
class Site:
    """A page that is served."""

    url: str
    data: Path


@pytest.fixture(scope="session")
def site(tiny_bundle, whole_path, tmp_path_factory):
    """The page, served by a process of its own."""
    data = tmp_path_factory.mktemp("served") / "data"
    options = ["--base", whole_path / "base", "--preset", "sd15", "--steps", 40, "--batch-size", 2, "--n", 12]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        words = ["-m", "tests.engine.serve.page.page_server", tiny_bundle, data, listening.fileno(), *options]
        command = [sys.executable, *map(str, words)]
        process = subprocess.Popen(command, cwd=ROOT, pass_fds=[listening.fileno()])
    # The socket holds the request until the server runs.
    with urllib.request.urlopen(url, timeout=120) as answer:
        assert answer.status == 200
    yield Site(url, data)
    process.terminate()
    assert process.wait(60) in (0, -signal.SIGTERM)


@pytest.fixture(scope="session")
def service(tiny_bundle, tmp_path_factory):
    """A service without a page."""
    opened = Service(ServeSettings(bundle=[str(tiny_bundle)], data=tmp_path_factory.mktemp("served") / "data"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def chromium_browser():
    """Chromium, driven by Playwright, whose loop runs in this thread until the end of the file: `asyncio.run` fails."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install playwright")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """A page in the browser, which remembers what it must not do."""

    def __init__(self, page, url):
        self.page, self.wrong = page, []
        page.set_default_timeout(180_000)
        page.on("console", lambda words: words.type == "error" and self.wrong.append(words.text))
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on(
            "request",
            lambda asked: asked.url.startswith((url, "data:", "blob:")) or self.wrong.append(asked.url),
        )
        page.goto(url)
        page.locator("#generate-draw").wait_for()

    def open(self, name):
        """Open a tab."""
        self.page.get_by_role("tab", name=name, exact=True).click()

    def drop(self, where, *files):
        """Drop files into a component."""
        self.page.locator(f"#{where} input[type=file]").set_input_files([str(file) for file in files])

    def see(self, where, words):
        """Wait until a component says these words."""
        self.page.locator(f"#{where}", has_text=words).wait_for()

    def gallery(self, name):
        """Return the pictures of a gallery."""
        return self.page.locator(f"#{name} .thumbnail-item")


@pytest.fixture(params=[1280, pytest.param(390, marks=pytest.mark.soak)])
def visit(request, site, chromium_browser):
    """The page at the width of a desktop and of a telephone. No console error, no request to another host.

    `make test-all` opens every tab at both widths (test_app.py), and uses the tabs at the width of a desktop.
    """
    page = chromium_browser.new_page(viewport={"width": request.param, "height": 900})
    made = Visit(page, site.url)
    yield made
    assert made.wrong == []
    assert page.evaluate("document.documentElement.scrollWidth") <= request.param
    page.close()


@pytest.fixture(scope="module")
def wide(chromium_browser, site):
    """Open the page at the width of a desktop."""

    def open_page():
        return Visit(chromium_browser.new_page(viewport={"width": 1280, "height": 900}), site.url)

    return open_page


@pytest.fixture(scope="session")
def cell(service, tmp_path_factory):
    """A picture of the tiny bundle, as the service draws it."""
    (bundle,) = service.bundles
    drawn = service.submit(Drawing(bundle, "cyt_mast")).result(60)[0]
    path = tmp_path_factory.mktemp("cell") / "cell.png"
    path.write_bytes(drawn.png)
    return path


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    """Twelve pictures that state nothing."""
    folder, rng = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    for i in range(12):
        Image.fromarray(rng.integers(0, 256, (64, 64, 3), np.uint8)).save(folder / f"{i}.png")
    return sorted(folder.iterdir())
