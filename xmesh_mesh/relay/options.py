"""The command line and the environment of ``xmesh-relay``."""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xmesh_mesh.errors import ConfigError
from xmesh_mesh.relay.access import Access
from xmesh_mesh.relay.door import is_loopback, proxy_address
from xmesh_mesh.relay.limits import Limits

__all__ = ["Options", "read_options"]

DEFAULT_PORT = 8080

_ABOUT = """\
A WebSocket relay for MMP nodes that share no LAN. It forwards what nodes of one channel say to each
other and keeps nothing but who is there and how a sleeping node can be woken. Deployed sym nodes
use it as they use sym-relay."""

_MORE = """\
environment:
  SYM_RELAY_TOKEN     the token that every client shows; without one the relay is open
  SYM_RELAY_CHANNELS  "token:channel,token:channel": channels that never see each other
  PORT                the port, where --port is not given
  LOG_LEVEL           error, warn, info (the default) or debug

example:
  SYM_RELAY_TOKEN="$(openssl rand -hex 16)" xmesh-relay --host 0.0.0.0 --port 8080
  curl http://127.0.0.1:8080/health

The relay speaks plain ws://. Outside your own machine, put a reverse proxy that ends TLS before it
(Caddy: "reverse_proxy 127.0.0.1:8080") and give clients the wss:// address. A proxy on this
machine is trusted to name the client in X-Forwarded-For; name others with --proxy.

Limits: {limits}."""


@dataclass(frozen=True, slots=True)
class Options:
    host: str
    port: int
    plain: bool
    log_level: str
    proxies: frozenset[str]
    access: Access

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches the relay."""
        return self.host == "localhost" or is_loopback(self.host)


def read_options(argv: Sequence[str] | None = None, env: Mapping[str, str] = os.environ) -> Options:
    """Read both; SystemExit as argparse does it, ConfigError where a value makes no sense."""
    args = _parser().parse_args(argv)
    return Options(
        host=args.host,
        port=_port(args.port, env),
        plain=args.json_less,
        log_level=env.get("LOG_LEVEL", "info"),
        proxies=frozenset(proxy_address(each) for each in args.proxy),
        access=Access.from_env(env),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="xmesh-relay",
        description=_ABOUT,
        epilog=_MORE.format(limits=_limits(Limits())),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    parser.add_argument("--port", help=f"TCP port; 0: any free one ({DEFAULT_PORT})")
    parser.add_argument(
        "--proxy", action="append", default=[], metavar="IP", help="a reverse proxy's address"
    )
    parser.add_argument(
        "--json-less", action="store_true", help="log plain lines instead of JSON lines"
    )
    return parser


def _port(given: str | None, env: Mapping[str, str]) -> int:
    where, text = ("--port", given) if given else ("PORT", env.get("PORT") or str(DEFAULT_PORT))
    if text.isascii() and text.isdigit() and int(text) <= 65_535:
        return int(text)
    raise ConfigError(f"{text!r} is no TCP port", where=where, fix="give a number from 0 to 65535")


def _limits(limits: Limits) -> str:
    mib = 1024 * 1024
    return (
        f"{limits.message_bytes / mib:g} MiB a message; a client that sends more than\n"
        f"{limits.messages_per_s} messages or {limits.bytes_per_s // mib} MiB of fan-out a second "
        f"is read more slowly; one for whom more than\n"
        f"{limits.queue_bytes // mib} MiB wait is closed; {limits.peers} nodes a channel; "
        f"{limits.per_address} connections an address, {limits.connections} in all"
    )
