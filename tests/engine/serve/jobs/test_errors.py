"""Errors as clients see them."""

from pathlib import Path

from engine.errors import RequestError
from engine.serve.jobs.errors import public_error

DATA = Path("/srv/private/data")


def test_an_error_keeps_its_parts_and_loses_the_paths_of_the_server():
    error = RequestError(
        f"The folder {DATA}/jobs/ab/pictures", found=f"a file in {DATA}", expected="another run", fix="start again"
    )
    assert public_error(error, [DATA, Path("/srv")]) == {
        "subject": "The folder pictures",
        "found": "a file in (the server's folder)",
        "expected": "another run",
        "fix": "start again",
    }


def test_errors_of_the_system_are_known_and_faults_say_nothing_of_themselves():
    full = OSError(28, "No space left on device", f"{DATA}/a.png")
    assert public_error(full, [DATA])["subject"] == "The file a.png"
    assert "No space left" in public_error(full, [DATA])["found"]
    assert "secret" not in str(public_error(ValueError("secret"), [DATA]))
