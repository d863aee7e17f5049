from engine.serve.sdapi.progress import pending_tasks, progress_of, progress_of_task
from engine.serve.sdapi.tasks import Tasks


def test_the_queue_by_task_id(service, drawing):
    tasks = Tasks()
    with service.turns.turn():
        first = service.submit(drawing(4, batch_size=2), task_id="first")
        second = service.submit(drawing(guidance_scale=3.0), task_id="second")
        tasks.note("first")
        while first.state == "waiting":
            pass
        assert pending_tasks(service) == {"size": 1, "tasks": ["second"]}
        state = progress_of(service)["state"]
        assert (state["job"], state["job_count"], state["sampling_steps"]) == ("scripts_txt2img", 2, 2)
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
