"""Fixtures that every test may use, and what keeps every test on this host."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from xmesh_mesh.paths import RuntimeDir

_SHARED_VECTORS = Path(__file__).resolve().parents[2] / "shared" / "vectors"

# A gateway that a test starts, or forgets that it starts, announces nothing and calls no relay.
os.environ["XMESH_LAN_ADDRESSES"] = "127.0.0.1"
os.environ.pop("SYM_RELAY_URL", None)

# A busy machine is no reason to fail; pytest's own timeout bounds every test.
settings.register_profile("xmesh", deadline=None)
settings.load_profile("xmesh")

# A shell that runs us in the background leaves SIGINT ignored, and every child inherits that; the
# commands under test are ended by it, as at a terminal.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def runtime_dir() -> Iterator[RuntimeDir]:
    """A private runtime directory whose path leaves room for Unix sockets."""
    root = Path(tempfile.mkdtemp(prefix="xm-", dir="/tmp"))
    yield RuntimeDir(root).ensure()
    shutil.rmtree(root, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_vectors() -> Path:
    """The directory of conformance vectors beside the project; skips where there is none."""
    if not _SHARED_VECTORS.is_dir():
        pytest.skip("the conformance vectors (../shared/vectors) are not here")
    return _SHARED_VECTORS
