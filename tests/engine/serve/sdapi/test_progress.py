import base64
import time

from engine.serve.sdapi.options import Options
from engine.serve.sdapi.progress import pending_tasks, progress_of, progress_of_task
from engine.serve.sdapi.tasks import Tasks


def test_the_queue_by_task_id(service, drawing):
    tasks = Tasks()
    with service.turns.turn():
        first = service.submit(drawing(4, batch_size=2), task_id="first")
        second = service.submit(drawing(guidance_scale=3.0), task_id="second")
        tasks.note("first")
        while first.state == "waiting":
            time.sleep(0.005)
        assert pending_tasks(service) == {"size": 1, "tasks": ["second"]}
        state = progress_of(service)["state"]
        assert (state["job"], state["job_count"], state["sampling_steps"]) == ("Batch 1 out of 2", 2, 2)
        assert progress_of_task(service, tasks, "first")["active"]
        waiting = progress_of_task(service, tasks, "second")
        assert waiting["queued"]
        assert "1 before" in waiting["textinfo"]
    first.result(60)
    second.result(60)
    assert progress_of_task(service, tasks, "first")["completed"]
    assert not any(progress_of_task(service, tasks, "unknown")[key] for key in ("active", "queued", "completed"))
    idle = progress_of(service)
    assert (idle["progress"], idle["state"]["job_count"]) == (0, 0)


def test_the_current_picture_is_there_if_it_is_wanted(service, drawing):
    options = Options(service)
    options.change({"live_previews_enable": True, "show_progress_every_n_steps": 5})
    tasks = Tasks()
    try:
        ticket = service.submit(drawing(num_inference_steps=60, hires_scale=2), task_id="seen")
        while (now := progress_of(service))["current_image"] is None:
            assert not ticket.future.done()
            time.sleep(0.005)
        assert base64.b64decode(now["current_image"]).startswith(b"\x89PNG")
        state = now["state"]
        assert (state["job"], state["job_count"]) == ("scripts_txt2img", 2)
        assert state["sampling_steps"] == 60 or state["job_no"] == 1
        assert progress_of(service, picture=False)["current_image"] is None
        found = progress_of_task(service, tasks, "seen")
        assert found["live_preview"].startswith("data:image/png;base64,")
        assert progress_of_task(service, tasks, "seen", seen=None)["live_preview"] is None
    finally:
        options.change({"live_previews_enable": False})
    ticket.result(60)
