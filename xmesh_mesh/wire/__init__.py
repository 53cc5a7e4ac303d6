"""MMP without I/O: bytes and times go in, frames and decisions come out.

No module here has a socket, a clock, a file or a source of randomness; ``xmesh_mesh.gateway`` is
the shell. From the bottom up: ``codec`` (bytes to payloads), ``frames`` and ``sending`` (payloads
to types and back), ``plain`` and ``secure_handshake`` (who is there), ``transcript`` (what a peer
proves of itself), ``e2e`` and ``sealed`` (secrecy), ``heartbeat``, ``links`` and ``recent`` (a
link's life), ``relay`` and ``relay_retry``.
"""
