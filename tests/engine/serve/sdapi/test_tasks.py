from engine.serve.sdapi.tasks import REMEMBERED, Tasks


def test_the_latest_ids_are_remembered():
    tasks = Tasks()
    for number in range(REMEMBERED + 1):
        tasks.note(str(number))
    assert "0" not in tasks
    assert "1" in tasks
