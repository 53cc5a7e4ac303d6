"""How one host presents its operator to another: the introduction, bound to a secure session.

The operator has no link of its own, so nobody proves its key in a handshake. Its introduction is
signed with that key; that it comes from the node at the other end is what the session vouches for.
"""

from xmesh_mesh.canonical import lp
from xmesh_mesh.introduction import Introduction
from xmesh_mesh.wire.errors import WireError
from xmesh_mesh.wire.frames import Operator
from xmesh_mesh.wire.sealed import SecureSession

__all__ = ["introduction_of", "operator_frame"]


def operator_frame(introduction: Introduction, session: SecureSession) -> Operator:
    """Return the frame that presents an operator of this host."""
    return Operator(
        node_id=introduction.node_id,
        name=introduction.name,
        room=introduction.group,
        public_key=introduction.public_key,
        implementation=introduction.implementation,
        issued_ms=introduction.issued_ms,
        sig=introduction.sig,
        voucher=session.voucher(_bound(introduction)),
    )


def introduction_of(frame: Operator, session: SecureSession) -> Introduction:
    """Return the introduction, as it was made where the operator is at home; its signature is
    still to be checked. WireError ``malformed`` where the other side did not send it."""
    introduction = Introduction(
        node_id=frame.node_id,
        name=frame.name,
        group=frame.room,
        public_key=frame.public_key,
        implementation=frame.implementation,
        origin="local",
        issued_ms=frame.issued_ms,
        sig=frame.sig,
    )
    if not session.is_vouched(_bound(introduction), frame.voucher):
        raise WireError("malformed", "an operator is presented, and the session vouches not for it")
    return introduction


def _bound(introduction: Introduction) -> bytes:
    parts = (
        introduction.node_id,
        introduction.name,
        introduction.group,
        introduction.public_key,
        introduction.implementation,
        str(introduction.issued_ms),
        introduction.sig,
    )
    return b"".join(map(lp, parts))
