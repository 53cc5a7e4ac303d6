"""Whom one local peer dials on the LAN, and when. The rules stand in ``wire.links``.

A dial that fails is tried again, later each time. Times are monotonic milliseconds.
"""

from dataclasses import dataclass
from typing import Final

from xmesh_mesh.gateway.services import Sighting
from xmesh_mesh.wire.links import Cause, dial_after

__all__ = ["AGAIN_MAX_MS", "AGAIN_MS", "MAX_PROSPECTS", "STABLE_MS", "Prospects"]

AGAIN_MS: Final = 1_000
AGAIN_MAX_MS: Final = 15_000
STABLE_MS: Final = 10_000  # a link that ends sooner counts as a dial that failed
MAX_PROSPECTS: Final = 1_024


@dataclass(slots=True)
class _Prospect:
    sighting: Sighting
    cause: Cause
    since_ms: int  # without a link for the ``cause``
    linked: bool = False
    dialling: bool = False
    failures: int = 0
    not_before_ms: int = 0


class Prospects:
    """The nodes that discovery knows, and how each stands with one local peer."""

    def __init__(self, own_id: str) -> None:
        self._own_id = own_id
        self._known: dict[str, _Prospect] = {}
        self._linked: set[str] = set()

    def seen(self, sighting: Sighting, now_ms: int) -> None:
        """Note a sighting. One that says something new is worth a new try at once."""
        known = self._known.get(sighting.node_id)
        if known is None:
            self._add(sighting, now_ms)
        elif known.sighting != sighting:
            known.sighting, known.failures, known.not_before_ms = sighting, 0, 0

    def gone(self, node_id: str) -> None:
        self._known.pop(node_id, None)

    def linked(self, node_id: str) -> None:
        """There is a link on the LAN, whoever dialled."""
        self._linked.add(node_id)
        known = self._known.get(node_id)
        if known is not None:
            known.linked = True

    def lost(self, node_id: str, now_ms: int, *, mute: bool = False) -> None:
        """There is none any more."""
        self._linked.discard(node_id)
        known = self._known.get(node_id)
        if known is not None:
            known.linked = False
            known.cause = Cause.MUTE if mute else Cause.LOST
            known.since_ms = now_ms

    def dialled(self, node_id: str, now_ms: int, *, failed: bool) -> None:
        """A dial has ended, or the link that came of it; ``failed``: it was of no use."""
        known = self._known.get(node_id)
        if known is None:
            return
        known.dialling = False
        if not failed:
            known.failures = 0
        else:
            wait_ms = min(AGAIN_MAX_MS, AGAIN_MS << min(known.failures, 16))
            known.failures += 1
            known.not_before_ms = now_ms + wait_ms

    def due(self, now_ms: int) -> list[Sighting]:
        """Return whom to dial now; they count as being dialled from here on."""
        due = [each for each in self._known.values() if self._is_due(each, now_ms)]
        for each in due:
            each.dialling = True
        return [each.sighting for each in due]

    def _add(self, sighting: Sighting, now_ms: int) -> None:
        if len(self._known) < MAX_PROSPECTS and sighting.node_id != self._own_id:
            linked = sighting.node_id in self._linked
            self._known[sighting.node_id] = _Prospect(sighting, Cause.FOUND, now_ms, linked)

    def _is_due(self, prospect: _Prospect, now_ms: int) -> bool:
        if prospect.linked or prospect.dialling or now_ms < prospect.not_before_ms:
            return False
        wait_ms = dial_after(
            prospect.cause,
            own_id=self._own_id,
            peer_id=prospect.sighting.node_id,
            secure=prospect.sighting.secure_port is not None,
        )
        return wait_ms is not None and now_ms - prospect.since_ms >= wait_ms
