"""A real encoder process, and local servers that answer with embeddings."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from xmesh_mesh.paths import RuntimeDir


@contextmanager
def encoder_process(root: RuntimeDir) -> Iterator[subprocess.Popen[bytes]]:
    """``xmesh-encoder`` on ``root``, ready; it is ended at the end."""
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-m", "xmesh_mesh.encoding.server"],
        env=os.environ | {"XMESH_RUNTIME_DIR": str(root.root), "XMESH_READY_FD": str(writer)},
        pass_fds=(writer,),
        stderr=subprocess.PIPE,
    )
    os.close(writer)
    try:
        with os.fdopen(reader, "rb") as pipe:
            assert pipe.readline() == b"ready\n"
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=10)


@contextmanager
def embedding_server(answer: Callable[[dict[str, Any]], bytes]) -> Iterator[tuple[str, list[Any]]]:
    """Give (url, requests seen); ``answer`` makes the body out of each request's."""
    seen: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            seen.append((self.path, dict(self.headers), body))
            data = answer(body)
            self.send_response(200)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            """Silence: a test reads what was seen."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
