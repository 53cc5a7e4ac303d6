"""What a mesh takes while nobody speaks: memory and CPU, of every process that belongs to it."""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

import psutil

from bench_parts.conversation import wakes
from bench_parts.figures import Figure, median, total
from bench_parts.mesh import Mesh, mesh
from bench_parts.vendor import SILENT, vendor

_MB = 1_000_000
_SETTLE_S = 1.5
_IDLE_S = 10.0
_WAKES = 60


def memory() -> list[Figure]:
    """RSS and PSS with 1, 3 and 8 peers; each process apart with 3; and a peer with an SDK."""
    figures: list[Figure] = []
    with mesh() as here:
        for count in (1, 3, 8):
            _up(here, count)
            time.sleep(_SETTLE_S)
            sizes = {name: size_mb(pid) for name, pid in here.pids().items()}
            figures += _sums(count, sizes)
            if count == 3:
                figures += _each(sizes)
    return [*figures, *_with_sdk()]


def _sums(count: int, sizes: Mapping[str, tuple[float, float]]) -> list[Figure]:
    rss, pss = zip(*sizes.values(), strict=True)
    return [
        total(f"{_peers(count)}: sum of PSS", pss, "MB"),
        total(f"{_peers(count)}: sum of RSS", rss, "MB"),
    ]


def _each(sizes: Mapping[str, tuple[float, float]]) -> list[Figure]:
    kinds: dict[str, list[tuple[float, float]]] = {}
    for name, size in sizes.items():
        kinds.setdefault("peer" if name.startswith("peer-") else name, []).append(size)
    return [
        median(f"{kind} (of 3 peers): {measure}", [size[index] for size in found], "MB")
        for kind, found in kinds.items()
        for index, measure in enumerate(("RSS", "PSS"))
    ]


def _with_sdk() -> list[Figure]:
    with mesh() as here, vendor() as server:
        here.up(here.peer_file("woken", server.model(SILENT)))
        asyncio.run(wakes(here, server, _WAKES))
        rss, pss = size_mb(here.pids()["woken"])
    what = f"peer with the openai SDK after {_WAKES} wakes"
    return [median(f"{what}: RSS", [rss], "MB"), median(f"{what}: PSS", [pss], "MB")]


def size_mb(pid: int) -> tuple[float, float]:
    """Return RSS and PSS in MB."""
    found = psutil.Process(pid).memory_full_info()
    return found.rss / _MB, found.pss / _MB


def cpu() -> list[Figure]:
    """CPU that all processes together take while the mesh is idle."""
    figures = []
    with mesh() as here:
        for count in (1, 3):
            _up(here, count)
            time.sleep(_SETTLE_S)
            pids = here.pids().values()
            before = [cpu_s(pid) for pid in pids]
            time.sleep(_IDLE_S)
            used = [cpu_s(pid) - then for pid, then in zip(pids, before, strict=True)]
            percent = [100 * seconds / _IDLE_S for seconds in used]
            figures.append(total(f"{_peers(count)}, idle", percent, "% of a core"))
    return figures


def cpu_s(pid: int) -> float:
    """Return the CPU time of all threads of a process; the usual counters know 10 ms steps only."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads) / 1e9


def _up(here: Mesh, count: int) -> None:
    here.up(*(here.peer_file(f"peer-{number}") for number in range(1, 1 + count)))


def _peers(count: int) -> str:
    return "1 peer" if count == 1 else f"{count} peers"
