"""A LAN of hosts on this machine: each in a network namespace of its own, joined by a bridge.

Real multicast and real TCP, and nothing of it reaches the machine's own network. A namespace lives
as long as the process that holds it, and that one as long as we do: nothing is left behind, even
where this process is killed. Linux and root only; ``unavailable`` says why not.
"""

import functools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

_TOOLS = ("ip", "unshare", "nsenter", "hostname")
_SETTLE_S = 10.0


class Host:
    """One host: its own network stack and host name; files and process ids are everybody's."""

    def __init__(self, name: str, address: str, holder: "_Holder") -> None:
        self.name = name
        self.address = address
        self._holder = holder
        self.port = f"p-{name}"  # of the switch

    def command(self, *argv: str) -> list[str]:
        """Return the command line that runs ``argv`` on this host."""
        return self._holder.command(*argv)

    def python(self, *argv: str) -> list[str]:
        return self.command(sys.executable, *argv)

    def run(self, *argv: str) -> str:
        done = subprocess.run(
            self.command(*argv), check=True, capture_output=True, text=True, timeout=30
        )
        return done.stdout

    def established(self, port: int) -> int:
        """Return how many TCP connections this host has to or from a port, on whatever address."""
        lines = self.run("cat", "/proc/net/tcp").splitlines()[1:]
        rows = [line.split() for line in lines]
        wanted = f"{port:04X}"
        return sum(row[3] == "01" and wanted in _ports(row) for row in rows)


def _ports(row: list[str]) -> set[str]:
    return {column.rpartition(":")[2] for column in row[1:3]}


class Lan:
    """Hosts on one bridge. ``cut`` pulls a host's cable: nobody is told, nothing comes through."""

    def __init__(self, switch: "_Holder", hosts: tuple[Host, ...]) -> None:
        self.hosts = hosts
        self._switch = switch

    def cut(self, host: Host) -> None:
        self._switch.run("ip", "link", "set", host.port, "nomaster")

    def mend(self, host: Host) -> None:
        self._switch.run("ip", "link", "set", host.port, "master", "lan")


class _Holder:
    """A process that keeps a network namespace; it ends when our end of its pipe is closed."""

    def __init__(self, name: str) -> None:
        self.process = subprocess.Popen(
            ["unshare", "--net", "--uts", "cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        self._await()
        self.run("hostname", name)
        self.run("ip", "link", "set", "lo", "up")

    def _await(self) -> None:
        """Return once the namespace is there."""
        pid, own = self.process.pid, _namespace(os.getpid())
        deadline = time.monotonic() + _SETTLE_S
        while _namespace(pid) in {own, ""}:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise OSError("no network namespace could be made")
            time.sleep(0.002)

    def command(self, *argv: str) -> list[str]:
        return ["nsenter", "--target", str(self.process.pid), "--net", "--uts", "--", *argv]

    def run(self, *argv: str) -> None:
        subprocess.run(self.command(*argv), check=True, capture_output=True, timeout=30)

    def end(self) -> None:
        if self.process.stdin:
            self.process.stdin.close()
        self.process.wait(10)


def _namespace(pid: int) -> str:
    try:
        return str(Path(f"/proc/{pid}/ns/net").readlink())
    except OSError:
        return ""


@contextmanager
def lan(*names: str) -> Iterator[Lan]:
    """Yield a LAN of hosts with these names, at 10.77.0.1 and on."""
    with ExitStack() as stack:
        switch = _hold(stack, "switch")
        switch.run("ip", "link", "add", "lan", "type", "bridge", "mcast_snooping", "0")
        switch.run("ip", "link", "set", "lan", "up")
        hosts = tuple(_attach(stack, switch, *each) for each in enumerate(names, 1))
        yield Lan(switch, hosts)


def _hold(stack: ExitStack, name: str) -> _Holder:
    holder = _Holder(name)
    stack.callback(holder.end)
    return holder


def _attach(stack: ExitStack, switch: _Holder, number: int, name: str) -> Host:
    """Make a host and plug its cable into the switch."""
    holder, address = _hold(stack, name), f"10.77.0.{number}"
    host = Host(name, address, holder)
    far = ("peer", "name", "eth0", "netns", str(holder.process.pid))
    switch.run("ip", "link", "add", host.port, "type", "veth", *far)
    switch.run("ip", "link", "set", host.port, "master", "lan", "up")
    holder.run("ip", "address", "add", f"{address}/24", "dev", "eth0")
    holder.run("ip", "link", "set", "eth0", "up")
    holder.run("ip", "route", "add", "224.0.0.0/4", "dev", "eth0")
    return host


@functools.cache
def unavailable() -> str | None:
    """Return why no LAN can be made here, None where one can."""
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if sys.platform != "linux" or missing:
        return f"network namespaces need Linux and {', '.join(missing) or 'its tools'}"
    if os.geteuid() != 0:
        return "network namespaces need root"
    try:
        with lan("probe"):
            return None
    except (OSError, subprocess.SubprocessError) as error:
        return f"network namespaces cannot be made here: {error}"
