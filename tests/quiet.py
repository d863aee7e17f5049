"""Run command lines in one process that the kernel ends as soon as any library connects or sends anywhere.

`python -m tests.quiet FILE` reads a JSON list of command lines, each beginning with a part, and prints the exit codes
as JSON. The filter of system calls is the kernel's own (seccomp), so it sees the calls of native code and of all
threads, those of a DNS query included. Unix sockets of the machine itself are beyond these calls' arguments that a
filter can read; no command of the project connects to one.
"""

from __future__ import annotations

import ctypes
import faulthandler
import importlib
import json
import platform
import signal
import sys
import warnings
from pathlib import Path

from tests.conftest import COMMAND_LINES

__all__ = ["SUPPORTED", "forbid_sending"]

CALLS = {
    # connect, sendto, sendmmsg by their numbers; AUDIT_ARCH first
    "x86_64": (0xC000003E, (42, 44, 307)),
    "aarch64": (0xC00000B7, (203, 206, 269)),
}
SUPPORTED = sys.platform == "linux" and platform.machine() in CALLS
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, TRAP = 0x7FFF0000, 0x00030000
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, FILTER = 22, 38, 2


class _Instruction(ctypes.Structure):
    """struct sock_filter of linux/filter.h."""

    _fields_ = (("code", ctypes.c_uint16), ("jt", ctypes.c_uint8), ("jf", ctypes.c_uint8), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    """struct sock_fprog of linux/filter.h."""

    _fields_ = (("len", ctypes.c_uint16), ("filter", ctypes.POINTER(_Instruction)))


def forbid_sending() -> None:
    """Let the kernel end this process with SIGSYS at the first connect, sendto or sendmmsg of any thread."""
    architecture, numbers = CALLS[platform.machine()]
    kill = len(numbers) + 1
    steps = [(LOAD, 0, 0, 4), (JUMP_IF_EQUAL, 0, kill, architecture), (LOAD, 0, 0, 0)]
    steps += [(JUMP_IF_EQUAL, len(numbers) - place, 0, number) for place, number in enumerate(numbers)]
    steps += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, TRAP)]
    program = _Program(len(steps), (_Instruction * len(steps))(*(_Instruction(*step) for step in steps)))
    faulthandler.register(signal.SIGSYS, chain=True)  # shows which call it was
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(PR_SET_SECCOMP, FILTER, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def main() -> None:
    """Run the commands of a file and print their exit codes."""
    forbid_sending()
    codes = []
    for part, *words in json.loads(Path(sys.argv[1]).read_text()):
        command_line = importlib.import_module(COMMAND_LINES[part]).main
        sys.argv = [part, *words]
        print(part, *words, file=sys.stderr)
        with warnings.catch_warnings():
            try:
                command_line()
                codes.append(0)
            except SystemExit as end:
                codes.append(int(end.code or 0))
    print(json.dumps(codes))


if __name__ == "__main__":
    main()
