"""The talks of one local peer: each begins with fresh randomness, and with the pins of now."""

import secrets
from collections import deque
from typing import Final

from xmesh_mesh.gateway.relay_talk import RelayTalk
from xmesh_mesh.gateway.talk import OURS, PlainTalk, SecureTalk
from xmesh_mesh.gateway.trust import Gatekeeper
from xmesh_mesh.wire import e2e
from xmesh_mesh.wire.frames import Implementation
from xmesh_mesh.wire.plain import PlainHandshake
from xmesh_mesh.wire.secure import SEALED, Role
from xmesh_mesh.wire.secure_terms import Terms
from xmesh_mesh.wire.trust import Self
from xmesh_mesh.wire.types import Transport

__all__ = ["Handshakes", "Talks"]

VERSION: Final = "1"
_REMEMBERED: Final = 1_024
_KEY_BYTES: Final = 32


class Handshakes:
    """The X25519 keys of this gateway's latest handshakes, by which it knows itself."""

    def __init__(self) -> None:
        self._keys: deque[bytes] = deque(maxlen=_REMEMBERED)

    def fresh(self) -> bytes:
        """Return a new private key."""
        private = secrets.token_bytes(_KEY_BYTES)
        self._keys.append(e2e.public_key(private))
        return private

    def is_ours(self, public_key: bytes) -> bool:
        return public_key in self._keys


class Talks:
    def __init__(self, own: Self, gatekeeper: Gatekeeper, handshakes: Handshakes) -> None:
        self._own = own
        self._gatekeeper = gatekeeper
        self._handshakes = handshakes

    def plain(
        self,
        transport: Transport,
        now_ms: int,
        *,
        dialled: bool,
        expected: str | None = None,
        extensions: tuple[str, ...] = (),
    ) -> PlainTalk:
        handshake = PlainHandshake(
            self._own,
            transport=transport,
            dialled=dialled,
            check=self._gatekeeper.check,
            now_ms=now_ms,
            floor=self._gatekeeper.floor(),
            expected=expected,
            extensions=extensions,
        )
        return PlainTalk(handshake, transport, lambda: secrets.token_bytes(e2e.NONCE_BYTES))

    def secure(self, role: Role, now_ms: int, *, expected: str | None = None) -> SecureTalk:
        terms = Terms(
            own=self._own,
            e2e_private=self._handshakes.fresh(),
            nonce=secrets.token_bytes(_KEY_BYTES),
            implementation=Implementation(OURS, VERSION),
            check=self._gatekeeper.check,
            is_ours=self._handshakes.is_ours,
            expected=expected,
        )
        return SecureTalk(role, terms, now_ms)

    def relay(self, peer_id: str, now_ms: int) -> RelayTalk:
        plain = self.plain("relay", now_ms, dialled=True, expected=peer_id, extensions=(SEALED,))
        return RelayTalk(
            plain,
            lambda role, now: self.secure(role, now, expected=peer_id),
            begins=self._own.node_id < peer_id,
        )
