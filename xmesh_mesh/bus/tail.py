"""Reading along with a group without being one of it."""

import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path

from xmesh_mesh.bus.client import BusClient
from xmesh_mesh.bus.inbox import Attested, Delivery
from xmesh_mesh.introduction import Introduction

__all__ = ["tail"]


async def tail(
    socket: Path, group: str, *, since: int | None = None, timeout_s: float = 10.0
) -> AsyncGenerator[Introduction | Delivery, None]:
    """Yield everything said in ``group``, directed records included, after ``since`` or from now.

    Whoever speaks is introduced before. Ends only with its consumer; errors as ``connect``.
    """
    client = BusClient(socket, None, role="tail", group=group, since=since)
    await client.connect(timeout_s)
    try:
        async with contextlib.aclosing(client.stream()) as stream:
            async for item in stream:
                if not isinstance(item, Attested):
                    yield item
                if isinstance(item, Delivery):
                    client.ack(item.seq)
    finally:
        await client.close()
