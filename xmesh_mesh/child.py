"""What processes that the supervisor starts do first, such as noticing their parent's death.

The parent hands over two things in the environment: its own pid in ``XMESH_PARENT`` and the
number of an inherited pipe in ``XMESH_READY_FD``. Both are absent when a person starts the
program by hand; ``die_with_parent`` and ``announce_ready`` then do nothing.
"""

import contextlib
import ctypes
import os
import resource
import signal
import sys

PARENT = "XMESH_PARENT"
READY_FD = "XMESH_READY_FD"

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies, and end if it is dead already.

    On systems without the signal (macOS) the supervisor's guard process does this alone.
    """
    expected = os.environ.pop(PARENT, "")
    if not expected:
        return
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != int(expected):
        os._exit(1)


def announce_ready() -> None:
    """Tell the supervisor, once, that this process does its work now."""
    fd = os.environ.pop(READY_FD, "")
    if fd:
        # An error means that the supervisor is gone; the parent-death signal says the rest.
        with contextlib.suppress(OSError), os.fdopen(int(fd), "wb", buffering=0) as pipe:
            pipe.write(b"ready\n")


def allow_files(wanted: int) -> None:
    """Raise the soft limit on open files as far as the hard one lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
