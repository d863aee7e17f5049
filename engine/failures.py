"""Exceptions of the system and of libraries as errors of cytosynth, with the exit code that they deserve."""

from __future__ import annotations

import errno
import os
import re

from engine.errors import CytosynthError, RequestError, first_line
from engine.installation import missing_package

__all__ = ["FREE_SPACE", "as_cytosynth_error"]

WHOLE = "files that can be read and written"
FREE_SPACE = "check the free space, the permissions and the path, then run the same command again"
WRITE_FAILURE = re.compile(
    r"os error \d+|No space left|file write failed|unexpected pos|cannot be opened", re.IGNORECASE
)
OF_REQUEST = {errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EILSEQ, errno.EINVAL}
"""Errors of a path that the request names."""
FIXES = {
    errno.ENOSPC: "free some space, then run the same command again",
    errno.EDQUOT: "free some space, then run the same command again",
    errno.EFBIG: "raise the limit of file sizes (`ulimit -f`), then run the same command again",
    errno.EACCES: "change the permissions, or name another place",
    errno.EPERM: "change the permissions, or name another place",
    errno.EROFS: "name a place that can be written",
    errno.ENOENT: "check the path",
    errno.EISDIR: "name a file",
    errno.ENOTDIR: "name a folder",
    errno.ENAMETOOLONG: "choose a shorter name",
}


def as_cytosynth_error(error: Exception) -> CytosynthError | None:
    """Return an exception that users can cause as an error in four parts. Return None for a fault of the program."""
    if isinstance(error, CytosynthError):
        return error
    if isinstance(error, OSError):
        return _of_file_system(error)
    if isinstance(error, ModuleNotFoundError):
        return missing_package(error)
    if isinstance(error, MemoryError):
        fix = "use a smaller batch size, fewer or smaller pictures, or a machine with more memory"
        return CytosynthError("The memory", found="all in use", expected="free memory", fix=fix)
    if isinstance(error, OverflowError):
        return RequestError("A number", found=first_line(error), expected="a smaller number", fix="lower the values")
    if isinstance(error, UnicodeError):
        return RequestError("A text", found=first_line(error), expected="text in UTF-8", fix="save or name it as UTF-8")
    # The exceptions of safetensors and torch for a file that cannot be written have no class of their own.
    words = str(error)
    if type(error).__name__ == "SafetensorError" or (isinstance(error, RuntimeError) and WRITE_FAILURE.search(words)):
        return CytosynthError("A file", found=first_line(error), expected=WHOLE, fix=FREE_SPACE)
    return None


def _of_file_system(error: OSError) -> CytosynthError:
    name = error.filename
    if isinstance(name, bytes):
        name = os.fsdecode(name)
    subject = f"The file {name}" if isinstance(name, str | os.PathLike) else "The output, or a file or connection"
    kind = RequestError if error.errno in OF_REQUEST else CytosynthError
    fix = FIXES.get(error.errno or 0, FREE_SPACE)
    return kind(subject, found=error.strerror or first_line(error), expected=WHOLE, fix=fix)
