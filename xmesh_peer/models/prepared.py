"""A model that is opened in the background: a vendor's SDK takes up to a second to import."""

import asyncio
from collections.abc import Callable

from xmesh_peer.models.base import Model, ModelAnswer, ModelRequest


class Prepared:
    """Opens a model in a thread at once; the first call waits for it, and gets its errors."""

    def __init__(self, opening: Callable[[], Model]) -> None:
        self._opening = asyncio.create_task(asyncio.to_thread(opening))

    async def call(self, request: ModelRequest) -> ModelAnswer:
        model = await asyncio.shield(self._opening)
        return await model.call(request)

    async def close(self) -> None:
        try:
            model = await self._opening
        except Exception:  # noqa: BLE001 - whoever called has had it; closing has nothing to add
            return
        await model.close()
