"""What users can cause has an exit code and four parts; a fault of the program keeps its traceback."""

from __future__ import annotations

import errno

import pytest
from safetensors import SafetensorError

from engine.errors import CytosynthError, RequestError
from engine.failures import as_cytosynth_error


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "out/x.png"), 1, "free some space"),
        (OSError(errno.EACCES, "Permission denied", "out"), 1, "change the permissions"),
        (OSError(errno.EROFS, "Read-only file system", "out"), 1, "a place that can be written"),
        (OSError(errno.EFBIG, "File too large"), 1, "ulimit -f"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "out"), 2, "name a file"),
        (OSError(errno.ENAMETOOLONG, "File name too long", b"nn"), 2, "shorter name"),
        (SafetensorError("Error while serializing: I/O error: No space left (os error 28)"), 1, "free space"),
        (RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0"), 1, "free space"),
        (MemoryError(), 1, "smaller batch"),
        (OverflowError("int too large to convert to float"), 2, "lower the values"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), 2, "UTF-8"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), 2, "make install"),
    ],
)
def test_what_a_user_can_cause_has_an_exit_code_and_says_what_to_do(error, code, words):
    found = as_cytosynth_error(error)
    assert (found.exit_code, type(found)) == (code, RequestError if code == 2 else CytosynthError)
    assert words in found.fix
    assert found.found


@pytest.mark.parametrize("error", [ZeroDivisionError(), RuntimeError("a fault"), ModuleNotFoundError("engine.absent")])
def test_a_fault_of_the_program_is_no_error_of_the_user(error):
    assert as_cytosynth_error(error) is None
