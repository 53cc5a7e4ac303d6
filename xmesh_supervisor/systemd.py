"""systemd: telling it how we are, and the unit that it runs us by."""

import contextlib
import os
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["notify", "unit", "watchdog_s"]


def notify(*lines: str) -> None:
    """Send sd_notify(3) assignments, such as READY=1; without a manager do nothing."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.setblocking(False)
        manager.sendto("\n".join(lines).encode(), address)


def watchdog_s(env: Mapping[str, str], pid: int) -> float | None:
    """Return how often, in seconds, the manager wants a sign of life; half of its limit."""
    if env.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    try:
        limit_us = int(env.get("WATCHDOG_USEC", ""))
    except ValueError:
        return None
    return limit_us / 2_000_000 if limit_us > 0 else None


def unit(program: Sequence[str], files: Sequence[Path], root: Path, account: str) -> str:
    """Return a unit that runs ``program up files`` (absolute paths) on the runtime directory.

    Type=notify with readiness and watchdog sent by the supervisor. KillMode=mixed: SIGTERM goes to
    the supervisor alone, which stops the others in order; what is left after that is killed.
    ``account`` is who a system unit runs as; empty for a user's own unit.
    """
    command = " ".join(_quoted(str(part)) for part in (*program, "up", *files))
    user = not account
    system = _SYSTEM.format(account=account, root=_quoted(str(root)))
    return _UNIT.format(
        command=command,
        environment=_quoted(f"XMESH_RUNTIME_DIR={root}"),
        keys="%h/.config/xmesh/keys.env" if user else "/etc/xmesh/keys.env",
        target="default.target" if user else "multi-user.target",
        system="" if user else system,
    )


def _quoted(text: str) -> str:
    """Quote one word for ExecStart= and Environment=; systemd.service(5), "Command lines"."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'


_SYSTEM = """\
User={account}
ProtectSystem=strict
ReadWritePaths={root}
ProtectControlGroups=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
"""

_UNIT = """\
[Unit]
Description=xmesh: agents under a supervisor
After=network-online.target
Wants=network-online.target

[Service]
Type=notify
NotifyAccess=main
ExecStart={command}
Environment={environment}
# Keys of models, one NAME=value a line, mode 0600. A missing file is fine.
EnvironmentFile=-{keys}
KillMode=mixed
TimeoutStartSec=120
TimeoutStopSec=90
WatchdogSec=20
Restart=on-failure
RestartSec=1
# A wrong file does not get better by trying again (exit 78: configuration).
RestartPreventExitStatus=2 78
UMask=0077
NoNewPrivileges=yes
RestrictSUIDSGID=yes
LockPersonality=yes
{system}
[Install]
WantedBy={target}
"""
