"""Short questions to the bus from programs that have no event loop."""

import time
from pathlib import Path

import zmq

from xmesh_mesh.bus import frames
from xmesh_mesh.errors import BusError, BusUnavailable, RecordError

__all__ = ["remove", "status", "unavailable"]

# A bus may die with a question in its hands; both questions may be asked twice.
_ASK_AGAIN_S = 0.5


def status(socket: Path, timeout_s: float = 2.0) -> frames.StatusReply:
    """Return what the bus knows of itself and its members; BusUnavailable where nobody answers."""
    answer = _ask(socket, frames.Status(), timeout_s)
    if not isinstance(answer, frames.StatusReply):
        raise BusError("the bus gave no status", where=str(socket), fix="restart the bus")
    return answer


def remove(socket: Path, node_id: str, timeout_s: float = 2.0, *, remote: bool = False) -> bool:
    """End a node's membership for good; return whether it was a living member.

    ``remote``: forget a node of another host instead; it is met anew when it comes again.
    BusUnavailable where nobody answers, BusError where the bus cannot write it down.
    """
    answer = _ask(socket, frames.Remove(node_id, remote), timeout_s)
    if isinstance(answer, frames.Removed):
        return answer.found
    text = answer.text if isinstance(answer, frames.Refused) else "an unexpected answer"
    raise BusError(f"the bus did not remove the node: {text}", where=str(socket), fix="try again")


def unavailable(socket: Path, timeout_s: float, reason: str = "") -> BusUnavailable:
    """Return the error for a bus that did not answer in time."""
    return BusUnavailable(
        reason or f"nobody answers on the bus within {timeout_s:g} s",
        where=str(socket),
        fix="start it with 'xmesh-sup up', or set XMESH_RUNTIME_DIR to where it runs",
    )


def _ask(path: Path, request: frames.Request, timeout_s: float) -> frames.Answer:
    deadline = time.monotonic() + timeout_s
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.DEALER)
    try:
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RECONNECT_IVL, 10)
        socket.connect(f"ipc://{path}")
        while True:
            socket.send(frames.encode(request))
            left_s = deadline - time.monotonic()
            if socket.poll(int(max(0.0, min(left_s, _ASK_AGAIN_S)) * 1_000)):
                break
            if left_s <= 0:
                raise unavailable(path, timeout_s)
        return frames.decode_answer(socket.recv())
    except RecordError as error:
        raise BusError(f"the bus answers in no way known here: {error}", where=str(path)) from error
    finally:
        socket.close()
