"""What a client has received and not yet used, and how far it has come in the journal."""

from collections import deque
from dataclasses import dataclass

from xmesh_mesh.bus import frames
from xmesh_mesh.introduction import Introduction

__all__ = ["Attested", "Delivery", "Inbox", "Item"]


MAX_ATTESTED = 1_024


@dataclass(frozen=True, slots=True)
class Delivery:
    """A record with the place it has in the journal ``epoch``; not yet verified."""

    epoch: str
    seq: int
    author: str
    assertion: str
    record: bytes
    accepted_ms: int
    history: bool = False
    """Old news when it was said: to be remembered, and acted on by nobody."""


@dataclass(frozen=True, slots=True)
class Attested:
    """A member's signed statement about somebody's record (see ``wire.attestation``), as JSON."""

    node_id: str
    statement: bytes


Item = Delivery | Introduction | Attested


class Inbox:
    """Deliveries in the journal's order, each once for as long as the client lives.

    Its size is bounded by the window: the bus sends no more until something is acknowledged.
    """

    def __init__(self) -> None:
        self.waiting: deque[Item] = deque()
        self.epoch = ""
        self.newest = 0
        self.acknowledged = 0
        self._attested = 0
        self._in_use = ""

    def begin(self, welcome: frames.Welcome) -> None:
        """A session begins. A journal that ends before our newest seq is not the one we knew."""
        if welcome.epoch != self.epoch or welcome.head < self.newest:
            self.epoch = welcome.epoch
            self.newest = self.acknowledged = welcome.cursor

    def put(self, frame: frames.Deliver) -> bool:
        """Keep what is new; False for what was received in an earlier session."""
        if frame.seq <= self.newest:
            return False
        self.newest = frame.seq
        where = (self.epoch, frame.seq, frame.author)
        delivery = Delivery(*where, frame.assertion, frame.record, frame.accepted_ms, frame.history)
        self.waiting.append(delivery)
        return True

    def put_aside(self, attested: Attested) -> None:
        """Keep an attestation, unless too many wait: nobody acknowledges them, so the window
        does not bound them."""
        if self._attested < MAX_ATTESTED:
            self._attested += 1
            self.waiting.append(attested)

    def take(self) -> Item:
        item = self.waiting.popleft()
        if isinstance(item, Delivery):
            self._in_use = item.epoch
        elif isinstance(item, Attested):
            self._attested -= 1
        return item

    def acknowledge(self, seq: int) -> bool:
        """Note what the caller is done with; False where the bus need not be told.

        A seq is one of the epoch that the caller took its last delivery from; when the journal was
        replaced meanwhile, the new one knows nothing of it.
        """
        if self._in_use != self.epoch or seq <= self.acknowledged:
            return False
        self.acknowledged = min(seq, self.newest)
        return True
