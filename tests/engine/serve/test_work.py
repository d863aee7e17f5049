import io
import threading
import time

import numpy as np
import pytest
from PIL import Image

from engine.bundle.settings import settings_of
from engine.serve.service import Cancelled, Drawing, QueueFull, Service
from engine.serve.settings import LimitSettings, ServeSettings
from engine.serve.work import Turns


@pytest.fixture
def own_service(tiny_bundle, tmp_path):
    """A service of its own with a short queue."""
    limits = LimitSettings(queue=3, batch=4)
    service = Service(ServeSettings(bundle=[str(tiny_bundle)], data=tmp_path / "data", limits=limits))
    yield service
    service.close()


def pixels(drawn):
    return np.asarray(Image.open(io.BytesIO(drawn.png)))


def test_turns_are_taken_in_the_order_of_asking():
    turns, order = Turns(), []

    def take(name):
        with turns.turn():
            order.append(name)

    with turns.turn():
        threads = []
        for name in range(4):
            threads.append(threading.Thread(target=take, args=(name,)))
            threads[-1].start()
            time.sleep(0.02)
        assert order == []
    for thread in threads:
        thread.join()
    assert order == [0, 1, 2, 3]


def test_waiting_requests_of_equal_settings_are_drawn_in_one_batch(service, drawing):
    alone = [service.submit(drawing(seed=seed)).result(60)[0] for seed in (20, 30)]
    with service.turns.turn():
        blocking = service.submit(drawing(seed=1))
        tickets = [service.submit(drawing(seed=seed)) for seed in (20, 30, 40, 50)]
        other = service.submit(drawing(seed=20, guidance_scale=4.0))
    found = [ticket.result(60)[0] for ticket in tickets]
    assert [one.description["batch_size"] for one in found] == [4] * 4
    assert [one.seed for one in found] == [20, 30, 40, 50]
    assert blocking.result(60)[0].description["batch_size"] == 1
    assert other.result(60)[0].description["batch_size"] == 1
    for one, before in zip(found, alone, strict=False):
        assert np.abs(pixels(one).astype(int) - pixels(before)).max() <= 1, "a batch size changes the last digits only"


def test_variations_of_different_seeds_are_not_drawn_in_one_batch(service, drawing):
    def ask(seed):
        return service.submit(drawing(2, seed=seed, variation_strength=0.5, variation_seed=7))

    alone = ask(30).result(60)
    with service.turns.turn():
        tickets = [ask(seed) for seed in (20, 30)]
    first, found = (ticket.result(60) for ticket in tickets)
    assert [one.png for one in found] == [one.png for one in alone]
    assert [one.seed for one in first] == [20, 20]
    assert [one.description["variation_seed"] for one in found] == [7, 8]


def test_a_full_queue_refuses_and_says_when_to_try_again(own_service):
    request = Drawing(next(iter(own_service.bundles)), "cyt_mast", 1, settings_of(num_inference_steps=2))
    with own_service.turns.turn():
        first = own_service.submit(request)
        while first.state == "waiting":
            time.sleep(0.01)
        tickets = [own_service.submit(request) for _ in range(3)]
        with pytest.raises(QueueFull, match="3 requests wait") as refused:
            own_service.submit(request)
    assert refused.value.retry_after_s >= 1
    assert all(len(ticket.result(60)) == 1 for ticket in (first, *tickets))
    own_service.submit(request).result(60)
    assert list((own_service.settings.data / "uploads").iterdir()) == []


def test_an_interrupt_keeps_the_pictures_as_they_are_and_lets_the_next_request_run(service, drawing):
    ticket, after = service.submit(drawing(40, num_inference_steps=100)), service.submit(drawing())
    while ticket.progress().pictures < 2 or ticket.progress().step < 50:
        time.sleep(0.002)
    service.interrupt()
    made = ticket.result(60)
    assert ticket.interrupted
    assert 3 <= len(made) < 40
    assert [one.seed for one in made] == list(range(len(made)))
    assert all("interrupted_after" not in one.description for one in made[:-1])
    steps = made[-1].description["interrupted_after"]
    assert 50 <= steps < 100
    assert f"Interrupted after: {steps}" in made[-1].infotext
    assert np.ptp(pixels(made[-1])) > 10
    assert len(after.result(60)) == 1


@pytest.mark.parametrize("options", [{}, {"hires_scale": 2}], ids=["one pass", "two passes"])
def test_skip_ends_a_batch_as_it_is(service, drawing, options):
    ticket = service.submit(drawing(3, num_inference_steps=120, **options))
    while not ticket.progress().step:
        time.sleep(0.001)
    service.skip()
    found = ticket.result(60)
    assert ticket.skipped
    assert [one.seed for one in found] == [0, 1, 2]
    assert ["interrupted_after" in one.description for one in found] == [True, False, False]
    assert len({pixels(one).shape for one in found}) == 1
    assert service.progress() is None


def test_previews_show_the_first_picture_of_a_batch(service, drawing):
    service.preview_every(7)
    try:
        ticket = service.submit(drawing(2, num_inference_steps=60))
        while (found := service.preview()) is None:
            time.sleep(0.001)
    finally:
        service.preview_every(0)
    assert found.ticket is ticket
    assert (found.picture.seed, found.picture.description["interrupted_after"] % 7) == (0, 0)
    ticket.result(60)
    assert service.preview() is None
    assert service.submit(drawing()).result(60)[0].png == service.submit(drawing()).result(60)[0].png


def test_cancelling_one_request_of_a_batch_leaves_the_others(service, drawing):
    with service.turns.turn():
        service.submit(drawing(seed=1))
        tickets = [service.submit(drawing(seed=seed, num_inference_steps=150)) for seed in range(4)]
        running = tickets[0]
    while running.state == "waiting":
        time.sleep(0.001)
    running.cancel()
    with pytest.raises(Cancelled):
        running.result(60)
    assert [ticket.result(60)[0].seed for ticket in tickets[1:]] == [1, 2, 3]


def test_a_service_that_closes_ends_what_runs_and_cancels_what_waits(tiny_bundle, tmp_path):
    service = Service(ServeSettings(bundle=[str(tiny_bundle)], data=tmp_path / "data"))
    request = Drawing(next(iter(service.bundles)), "cyt_mast", 1, settings_of(num_inference_steps=900))
    first, second = service.submit(request), service.submit(request)
    while first.state == "waiting":
        time.sleep(0.01)
    service.close()
    assert all("interrupted_after" in one.description for one in first.result(1))
    with pytest.raises(Cancelled):
        second.result(1)
    with pytest.raises(QueueFull):
        service.submit(request)
