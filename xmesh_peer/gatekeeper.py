"""What stands before a peer's wakes, put together: encoder, calibration, judge and second look.

The encoder process may come up a moment later than the peer, and may be away at any time; the
peer then judges with n-grams, and its log and every verdict say so.
"""

import asyncio
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path

from msgspec import structs

from xmesh_mesh.admission import Judge
from xmesh_mesh.encoding.client import HostEncoder
from xmesh_mesh.encoding.kernels import NGRAM, Choice, Encoder, EncoderAway, Vectors
from xmesh_mesh.errors import StoreError
from xmesh_mesh.judging.calibrations import own_calibration, shipped
from xmesh_mesh.judging.decision import Calibration
from xmesh_mesh.memory import Memory
from xmesh_mesh.paths import RuntimeDir
from xmesh_peer.calls import Caller
from xmesh_peer.log import Log
from xmesh_peer.models.base import Model
from xmesh_peer.models.factory import open_model
from xmesh_peer.models.prepared import Prepared
from xmesh_peer.plan import PeerPlan
from xmesh_peer.presence import now_ms
from xmesh_peer.safety.ledger import Purse
from xmesh_peer.triage import Triage

__all__ = ["EXPECTED", "Gatekeeper"]

# Set by a supervisor that runs an encoder process beside this peer.
EXPECTED = "XMESH_ENCODER"

_UP_WITHIN_S = 5.0
_LOOK_EVERY_S = 0.02


class _Told:
    """An encoder that says once when it goes away, and once when it is back."""

    def __init__(self, encoder: HostEncoder, log: Log) -> None:
        self._encoder = encoder
        self._log = log
        self._away = ""

    @property
    def kernel(self) -> str:
        return self._encoder.kernel

    def encode(self, texts: Sequence[str]) -> Vectors:
        try:
            rows = self._encoder.encode(texts)
        except EncoderAway as error:
            if error.what != self._away:
                self._log.warning("encoder-away", f"judges with n-grams: {error.what}")
            self._away = error.what
            raise
        if self._away:
            self._log.info("encoder-back", f"judges with {self.kernel} again")
        self._away = ""
        return rows


def _appeared(path: Path) -> bool:
    deadline = time.monotonic() + _UP_WITHIN_S
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(_LOOK_EVERY_S)
    return path.exists()


def _changed_ns(path: Path) -> int:
    """Return when the file was written, 0 where there is none."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


class Gatekeeper:
    """``judge`` and ``asks`` are for the node; ``triage`` makes the thinker's second look."""

    def __init__(self, root: RuntimeDir, plan: PeerPlan, log: Log) -> None:
        admission = plan.settings.admission
        choice = Choice(admission.encoder, admission.encoder_url, admission.encoder_model)
        self._root = root
        self._plan = plan
        self._log = log
        self._host = None if choice.kind == "ngram" else HostEncoder(root.encoder_socket, choice)
        self._model: Model | None = None
        self._calibrations: dict[str, tuple[int, Calibration]] = {}
        encoder: Encoder = _Told(self._host, log) if self._host else NGRAM
        self.judge = Judge(encoder, self._calibration)

    @property
    def asks(self) -> bool:
        """Whether a second look is ever taken; a rehearsal has no model to ask."""
        return self._plan.settings.admission.triage != "off" and self._plan.adapter != "rehearsal"

    async def open(self) -> None:
        """Wait for the encoder process where one is to come, but not for long."""
        if self._host is None or not os.environ.get(EXPECTED):
            return
        await asyncio.to_thread(_appeared, self._root.encoder_socket)

    async def close(self) -> None:
        if self._host is not None:
            self._host.close()
        if self._model is not None:
            await self._model.close()

    def triage(self, key: str, purse: Purse, memory: Memory, model: Model) -> Triage | None:
        """Ask ``model``, the peer's own, or a cheaper one where the file names one."""
        if not self.asks:
            return None
        plan, settings = self._plan, self._plan.settings
        if plan.triage_model not in {"", plan.model_name}:
            asked = structs.replace(plan, model_name=plan.triage_model)
            model = self._model = Prepared(lambda: open_model(asked, key))
        caller = Caller(
            model,
            purse,
            plan.triage_price,
            clock=time.monotonic,
            sleep=asyncio.sleep,
            rng=random.Random(),  # noqa: S311 - jitter, not a secret
            attempts=1,
        )
        return Triage(
            settings.admission.triage,
            caller,
            memory,
            settings.identity.charter,
            self._log,
            now_ms=now_ms,
            timeout_s=settings.model.timeout_s,
        )

    def _calibration(self, kernel: str) -> Calibration:
        """Return this peer's own calibration of the kernel, else the one that ships.

        Whatever is learnt while it runs counts from the next message on.
        """
        path = self._root.calibration(self._plan.settings.identity.name)
        changed_ns = _changed_ns(path)
        if kernel not in self._calibrations or self._calibrations[kernel][0] != changed_ns:
            self._calibrations[kernel] = changed_ns, self._read(path, kernel)
        return self._calibrations[kernel][1]

    def _read(self, path: Path, kernel: str) -> Calibration:
        try:
            found = own_calibration(path, kernel)
        except StoreError as error:
            self._log.warning("calibration", f"its own calibration is not used: {error}")
            found = None
        return found or shipped(kernel)
