"""Fixtures of the supervisor's tests."""

from collections.abc import Iterator

import pytest
from helpers.fleet import SupervisorProcess

from xmesh_mesh.paths import RuntimeDir


@pytest.fixture
def supervisor(runtime_dir: RuntimeDir) -> Iterator[SupervisorProcess]:
    """A real supervisor with stub children, ended afterwards with all that it has started."""
    process = SupervisorProcess(runtime_dir).start()
    yield process
    process.end()
