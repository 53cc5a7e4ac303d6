"""What one client may cost the relay, and how long the relay waits. The help text states these."""

from dataclasses import dataclass

__all__ = ["Limits"]

_KIB = 1024
_MIB = 1024 * _KIB


@dataclass(frozen=True, slots=True)
class Limits:
    """Times in milliseconds, sizes in bytes, rates per second with the burst above them."""

    # The times of deployed relays: clients rely on them.
    login_ms: int = 10_000
    keepalive_ms: int = 10_000
    fresh_ms: int = 5_000
    wake_ms: int = 7 * 24 * 3_600_000
    # How long a client may take to go after it was told to.
    closing_ms: int = 5_000

    # A stranger may send a login and little more: memory for big messages is for those who are in.
    login_bytes: int = 64 * _KIB
    message_bytes: int = 3 * _MIB // 2

    # Above these a client is read more slowly; nothing of it is dropped.
    messages_per_s: int = 1_000
    messages_burst: int = 2_000
    # What the relay has to send because of a client counts, so a broadcast costs its fan-out.
    bytes_per_s: int = 8 * _MIB
    bytes_burst: int = 16 * _MIB
    # WebSocket pings and pongs, which no client needs many of.
    control_per_s: int = 10
    control_burst: int = 100

    # What may wait for one client, and for all together, before the one behind is closed.
    queue_bytes: int = 32 * _MIB
    queues_bytes: int = 256 * _MIB

    connections: int = 1_024
    per_address: int = 256
    peers: int = 256
    wake_entries: int = 128
    gossip_entries: int = 64
    gossip_bytes: int = 64 * _KIB
