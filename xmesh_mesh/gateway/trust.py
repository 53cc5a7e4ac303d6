"""Who is let in: the pins of a group in one trust mode, as both handshakes ask for them."""

from collections.abc import Mapping

from xmesh_mesh.canonical import b64u
from xmesh_mesh.errors import RecordError
from xmesh_mesh.gateway.talk import Counterpart
from xmesh_mesh.paths import OPERATOR
from xmesh_mesh.pins import PinResult, Pins, Quarantined, Trust, Why
from xmesh_mesh.wire.errors import WireError
from xmesh_mesh.wire.trust import Floor, KeyVerdict

__all__ = ["Gatekeeper"]

_VERDICTS = {
    PinResult.FIRST: KeyVerdict.TRUSTED,
    PinResult.SAME: KeyVerdict.TRUSTED,
    PinResult.CHANGED: KeyVerdict.CHANGED,
    PinResult.UNKNOWN: KeyVerdict.UNKNOWN,
}


class Gatekeeper:
    """For one local peer. StoreError where the pins cannot be used."""

    def __init__(self, pins: Pins, mode: Trust, own_id: str) -> None:
        self.mode = mode
        self._pins = pins
        self._own_id = own_id

    def check(self, node_id: str, key: bytes | None, name: str) -> KeyVerdict:
        """A ``wire.trust.KeyCheck``."""
        return _VERDICTS[self._pins.admit(node_id, key, name, self.mode)]

    def floor(self) -> Floor:
        return Floor(self._pins.secure_nodes())

    def key(self, node_id: str) -> bytes | None:
        return self._pins.key(node_id)

    def enter(self, counterpart: Counterpart, local: Mapping[str, str]) -> None:
        """Let in a node whose handshake is through; ``local`` names our peers by node id.

        WireError ``self-loop`` for one of our own, ``not-trusted`` for a stranger under the name
        of one or of operators, who is quarantined, unless a person has accepted its key.
        """
        if counterpart.node_id in local:
            raise WireError("self-loop", f"{counterpart.name} is a peer of this host")
        if counterpart.name in {*local.values(), OPERATOR} and not self._is_accepted(counterpart):
            self.quarantine(counterpart, "our-name")
            raise WireError("not-trusted", f"{counterpart.name} is the name of somebody here")
        if counterpart.secure:
            self._pins.note_secure(counterpart.node_id)

    def admit_operator(self, operator: Counterpart, own: Mapping[str, str]) -> None:
        """Let in whom a remote node presents as the operator of its host; its key has signed that.

        ``own``: the keys (base64url) of this host's peers and operators, by node id. RecordError
        ``own-node-id``, ``wrong-author`` for a node that goes by another name, ``key-changed``,
        ``not-trusted``.
        """
        node_id, key = operator.node_id, operator.public_key
        if node_id in own:
            if key is None or own[node_id] != b64u(key):
                self.quarantine(operator, "our-id")
            raise RecordError("own-node-id", f"{node_id} is at home on this host")
        if self._pins.name(node_id) not in {None, operator.name}:
            raise RecordError("wrong-author", f"{node_id} is known under another name")
        verdict = self.check(node_id, key, operator.name)
        if verdict is not KeyVerdict.TRUSTED:
            code = "key-changed" if verdict is KeyVerdict.CHANGED else "not-trusted"
            raise RecordError(code, f"the key of the operator {node_id} is refused: {code}")
        self._pins.note_signed(node_id)
        self._pins.note_secure(node_id)

    def stands(self, counterpart: Counterpart) -> bool:
        """Return whether the key that was let in is still the pinned one."""
        key = counterpart.public_key
        return key is None or self._pins.key(counterpart.node_id) == key

    def _is_accepted(self, counterpart: Counterpart) -> bool:
        key, node_id = counterpart.public_key, counterpart.node_id
        return key is not None and key == self.key(node_id) and self._pins.is_by_hand(node_id)

    def quarantine(self, counterpart: Counterpart, why: Why) -> None:
        key = counterpart.public_key
        self._pins.quarantine(counterpart.node_id, key, counterpart.name, why)

    def may_be_unsigned(self, node_id: str) -> bool:
        return self.mode == "open" and not self._pins.has_signed(node_id)

    def signed(self, node_id: str) -> None:
        self._pins.note_signed(node_id)

    def quarantined(self) -> list[Quarantined]:
        return self._pins.quarantined()
