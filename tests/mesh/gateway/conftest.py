"""Two hosts that share a home, and so a same-host registry; each has a bus of its own."""

from collections.abc import AsyncIterator

import pytest_asyncio
from helpers.gateway import Host


@pytest_asyncio.fixture
async def left() -> AsyncIterator[Host]:
    async with Host() as host:
        yield host


@pytest_asyncio.fixture
async def right(left: Host) -> AsyncIterator[Host]:
    async with Host(home=left.home) as host:
        yield host
