"""Processes: how long they take to be there, to be looked at, and to be gone."""

import json
import os
import select
import signal
import time

from bench_parts.figures import BenchError, Figure, median
from bench_parts.mesh import TRIAD, Mesh, mesh

_ONE_ROUNDS = 7
_TRIAD_ROUNDS = 5
_PS_ROUNDS = 15
_KILL_ROUNDS = 20
_GONE_WITHIN_S = 20


def ready() -> list[Figure]:
    """Start and stop one peer, then the triad; the first round of each warms up."""
    with mesh() as here:
        return [*_one_ready(here), *_triad_ready(here)]


def _one_ready(here: Mesh) -> list[Figure]:
    typed, started, stopped = [], [], []
    file = here.peer_file(TRIAD[0])
    for _ in range(1 + _ONE_ROUNDS):
        typed.append(here.up(file))
        [peer] = here.status()["peers"]
        started.append(peer["ready_in_s"] * 1000)
        stopped.append(_terminated_ms(peer["pid"]))
        here.sup("down")
    return [
        median("one peer: up typed to ready", typed[1:]),
        median("one peer: process start to ready", started[1:]),
        median("one peer: SIGTERM to exit", stopped[1:]),
    ]


def _triad_ready(here: Mesh) -> list[Figure]:
    typed, started, down = [], [], []
    files = [here.peer_file(name) for name in TRIAD]
    for _ in range(1 + _TRIAD_ROUNDS):
        typed.append(here.up(*files))
        started.append(_all_started_ms(here))
        down.append(here.timed("down"))
    return [
        median("triad: up typed to all ready", typed[1:]),
        median("triad: first process start to all ready", started[1:]),
        median("triad: down typed to all gone", down[1:]),
    ]


def _all_started_ms(here: Mesh) -> float:
    """Return the time from the start of the first peer's process to the last one's readiness."""
    peers = here.status()["peers"]
    begun = [-peer["uptime_s"] for peer in peers]
    ready_at = [-peer["uptime_s"] + peer["ready_in_s"] for peer in peers]
    return (max(ready_at) - min(begun)) * 1000


def _terminated_ms(pid: int) -> float:
    handle = os.pidfd_open(pid)
    try:
        began = time.perf_counter()
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        ended, _, _ = select.select([handle], [], [], _GONE_WITHIN_S)
        took_ms = (time.perf_counter() - began) * 1000
    finally:
        os.close(handle)
    if not ended:
        raise BenchError(f"process {pid} does not end on SIGTERM")
    return took_ms


def ps() -> list[Figure]:
    """Time ``xmesh-sup ps``, from typing to its end, with the triad up."""
    with mesh() as here:
        here.up(*(here.peer_file(name) for name in TRIAD))
        here.sup("ps")
        return [median("xmesh-sup ps, triad up", [here.timed("ps") for _ in range(_PS_ROUNDS)])]


def kill() -> list[Figure]:
    """Time ``xmesh-sup kill``, and what it says itself: tombstone to last process gone."""
    walls, own = [], []
    with mesh() as here:
        here.up(here.peer_file(TRIAD[0]))
        for _ in range(_KILL_ROUNDS):
            began = time.perf_counter()
            said = here.sup("kill", TRIAD[0], "--json")
            walls.append((time.perf_counter() - began) * 1000)
            own.append(json.loads(said)[0]["took_ms"])
            here.sup("start", TRIAD[0])
    return [
        median("kill: tombstone to last process gone", own),
        median("kill: typed to done", walls),
    ]
