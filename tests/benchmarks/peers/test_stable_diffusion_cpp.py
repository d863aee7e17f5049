"""stable-diffusion.cpp as a peer, with a stand-in for its package: what it is given, and what is refused."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from benchmarks.peers import stable_diffusion_cpp as peer
from benchmarks.peers import stable_diffusion_cpp_process
from benchmarks.rounds import Opened
from engine.bundle.folder import open_bundle
from engine.errors import CytosynthError, RequestError
from exporter.load import load_merged
from tests.benchmarks.peers import fake_stable_diffusion_cpp


@pytest.fixture
def work(whole_path, tiny_bundle, tmp_path, monkeypatch):
    """A tiny model in Stable Diffusion's place, and a stand-in for the package, here and in the process that draws."""
    merged = load_merged(whole_path / "merged/cyt_mast")
    monkeypatch.setattr(peer, "SIZE", {name: merged.unet.config[name] for name in peer.SIZE})
    monkeypatch.setattr(peer, "PROMPT_IDS", (0, 1))
    monkeypatch.setattr(peer, "PADDING_ID", 1)
    monkeypatch.setitem(sys.modules, "stable_diffusion_cpp", fake_stable_diffusion_cpp)
    monkeypatch.setattr(stable_diffusion_cpp_process, "_draw", fake_stable_diffusion_cpp.draw)
    request = SimpleNamespace(threads=1, guidance_scale=2.0, batch_size=1)
    return SimpleNamespace(bundle=open_bundle(tiny_bundle), merged=merged, request=request, folder=tmp_path / "files")


def picture_of(work, part):
    """What diffusers draws for a part."""
    timesteps = peer.TIMESTEPS[part]
    sigmas = [float(work.bundle.manifest.noise.sigmas[timestep]) for timestep in timesteps]
    return peer._reference(work.merged, timesteps, sigmas, work.request.guidance_scale)


@pytest.mark.parametrize(("part", "seconds"), [("step", 0.2), ("decode", 0.1)])
def test_the_part_is_timed_after_its_picture_agrees(part, seconds, work, tmp_path):
    picture = picture_of(work, part)
    Image.fromarray(picture).save(tmp_path / "picture.png")
    opened = Opened()
    peer.StableDiffusionCppPeer().add_to(opened, work, part)
    (system,) = opened.systems
    assert system.deviation == "a whole picture, 148.1 dB"
    assert system.run()[0] >= seconds
    Image.fromarray(picture ^ np.uint8(64)).save(tmp_path / "picture.png")
    with pytest.raises(CytosynthError, match="dB from diffusers"):
        peer._system(work, part)


def test_what_it_cannot_do_is_said(work, monkeypatch):
    with pytest.raises(RequestError, match="starts from its own noise"):
        peer._system(work, "picture")
    work.request.batch_size = 2
    with pytest.raises(RequestError, match="one by one"):
        peer._system(work, "step")
    work.request.batch_size = 1
    monkeypatch.setattr(peer, "find_spec", lambda name: None)
    with pytest.raises(RequestError, match="pip install stable-diffusion-cpp-python"):
        peer._system(work, "step")
