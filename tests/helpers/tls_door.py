"""A door with TLS before a port of this host, as a reverse proxy is.

    python -m helpers.tls_door PORT CERTIFICATE TARGET     (with tests/ on the path)

CERTIFICATE is a PEM file with the private key in it.
"""

import asyncio
import contextlib
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from helpers.netns import Host
from helpers.stock import free_port


def certificate(path: Path, address: str) -> Path:
    """Make a certificate for an IP address that is its own authority; return its file."""
    key, made = path / "door.key", path / "door.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=door"),
            *("-addext", f"subjectAltName=IP:{address}"),
            *("-keyout", str(key), "-out", str(made)),
        ],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    made.write_text(made.read_text() + key.read_text())
    return made


@contextmanager
def tls_door(host: Host, pem: Path, target: int) -> Iterator[int]:
    """Yield the port of a door on ``host`` to the port ``target`` there."""
    port = free_port()
    paths = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
    process = subprocess.Popen(
        host.python("-m", "helpers.tls_door", str(port), str(pem), str(target)),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield port
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def main(port: str, pem: str, target: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", int(target))
        await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer))

    server = await asyncio.start_server(serve, "0.0.0.0", int(port), ssl=context)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
