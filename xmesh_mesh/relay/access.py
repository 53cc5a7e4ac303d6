"""Who may come in, and to which channel: tokens as ``sym-relay`` takes them from the environment.

``SYM_RELAY_CHANNELS="token:channel,…"`` gives each token its channel and overrides
``SYM_RELAY_TOKEN``, the one token of a relay with one channel. With neither the relay is open.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from xmesh_mesh.errors import ConfigError

__all__ = ["CHANNELS", "DEFAULT_CHANNEL", "TOKEN", "Access"]

TOKEN = "SYM_RELAY_TOKEN"  # noqa: S105 - the name of a variable
CHANNELS = "SYM_RELAY_CHANNELS"
DEFAULT_CHANNEL = "default"


@dataclass(frozen=True, slots=True)
class Access:
    """``channels`` maps a token to its channel; empty means that everybody may come in."""

    channels: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Read the tokens; ConfigError where they cannot be meant so, which never opens a relay."""
        if env.get(CHANNELS):
            return cls(_channels(env[CHANNELS]))
        if env.get(TOKEN):
            return cls({env[TOKEN]: DEFAULT_CHANNEL})
        return cls()

    @property
    def open(self) -> bool:
        return not self.channels

    def channel(self, token: str | None) -> str | None:
        """Return the channel of ``token``; None: nobody is let in with that."""
        if self.open:
            return DEFAULT_CHANNEL
        offered = _bytes(token or "")
        found = None
        # Every token is compared, in constant time: how long it takes tells nothing about them.
        for known, channel in self.channels.items():
            if hmac.compare_digest(_bytes(known), offered):
                found = channel
        return found


def _bytes(token: str) -> bytes:
    # As the environment gives what is no UTF-8.
    return token.encode(errors="surrogateescape")


def _channels(value: str) -> dict[str, str]:
    channels: dict[str, str] = {}
    for number, entry in enumerate(value.split(","), start=1):
        if not entry.strip():
            continue
        parts = [part.strip() for part in entry.split(":")]
        if len(parts) != 2 or not all(parts) or parts[0] in channels:
            # The entry itself is not shown: it holds a secret.
            raise _bad_channels(f"entry {number} is not a new token:channel")
        channels[parts[0]] = parts[1]
    if not channels:
        raise _bad_channels("there is no entry")
    return channels


def _bad_channels(what: str) -> ConfigError:
    fix = f'write {CHANNELS}="token:channel,token:channel", each token once'
    return ConfigError(what, where=CHANNELS, fix=fix)
