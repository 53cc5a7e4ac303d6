"""Which calibration belongs to a kernel: those that ship with xmesh, and a peer's own.

Embeddings of a server's model have no calibration of their own before somebody makes one; those
of sentence embeddings (MiniLM) stand in, and the verdict says so.
"""

from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import msgspec

from xmesh_mesh.encoding.kernels import KERNEL_MINILM, KERNEL_NGRAM, KERNEL_STATIC
from xmesh_mesh.errors import StoreError
from xmesh_mesh.judging.decision import Calibration

__all__ = ["MAX_BYTES", "SHIPPED", "own_calibration", "shipped"]

SHIPPED = (KERNEL_NGRAM, KERNEL_STATIC, KERNEL_MINILM)
MAX_BYTES = 1_048_576


@lru_cache(maxsize=8)
def shipped(kernel: str) -> Calibration:
    """Return the calibration of a kernel, MiniLM's for one that nobody has calibrated."""
    name = kernel if kernel in SHIPPED else KERNEL_MINILM
    data = files("xmesh_mesh.judging").joinpath("calibration", f"{name}.json").read_bytes()
    return msgspec.json.decode(data, type=Calibration)


def own_calibration(path: Path, kernel: str) -> Calibration | None:
    """Return a peer's own calibration for this kernel, None where it has none.

    Raises StoreError where the file is there and cannot be used, or was learnt for a judge that
    looked at other things.
    """
    try:
        data = path.read_bytes()[: MAX_BYTES + 1]
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"it cannot be read: {error.strerror}", where=str(path)) from error
    try:
        found = msgspec.json.decode(data, type=Calibration)
    except (msgspec.DecodeError, RecursionError) as error:
        raise StoreError(
            f"it is no calibration: {error}", where=str(path), fix="remove the file"
        ) from error
    if found.kernel != kernel:
        return None
    if _names(found) != _names(shipped(kernel)):
        raise StoreError(
            "it was learnt for another version of the judge",
            where=str(path),
            fix="xmesh-sup admission PEER --recalibrate, or --forget",
        )
    return found


def _names(calibration: Calibration) -> list[list[str]]:
    scales = (calibration.alone, calibration.concern, calibration.novelty)
    return [scale.trees.names for scale in scales]
