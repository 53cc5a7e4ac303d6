"""A server that speaks as OpenAI does and answers at once, so that only xmesh is measured."""

import json
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from bench_parts.figures import BenchError
from bench_parts.speaker import words

SILENT = "silent"
"""The model that declines; any other name calls emit_cmb."""

_ARRIVES_WITHIN_S = 15


@dataclass(frozen=True, slots=True)
class Call:
    """One request: when its head had come, and when its answer was about to be sent (wall, ns)."""

    model: str
    came_ns: int
    answered_ns: int


class Vendor:
    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[Call] = queue.SimpleQueue()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self._calls))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def model(self, name: str) -> dict[str, str]:
        """Return the ``[model]`` section of a peer that calls this server."""
        url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        return {"adapter": "openai", "model_name": name, "base_url": url}

    def next_call(self) -> Call:
        try:
            return self._calls.get(timeout=_ARRIVES_WITHIN_S)
        except queue.Empty:
            raise BenchError(f"no model request came within {_ARRIVES_WITHIN_S} s") from None

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def vendor() -> Iterator[Vendor]:
    server = Vendor()
    try:
        yield server
    finally:
        server.close()


def _handler(calls: "queue.SimpleQueue[Call]") -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            came_ns = time.time_ns()
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            body = json.dumps(_answer(asked["model"], came_ns)).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            answered_ns = time.time_ns()
            self.wfile.flush()
            calls.put(Call(asked["model"], came_ns, answered_ns))

        def log_message(self, *args: object) -> None:
            """Silence: the bench prints its table only."""

    return Handler


def _answer(model: str, number: int) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": "nothing to add"}
    if model != SILENT:
        said = {
            "focus": f"specification of endpoint {number}",
            "commitment": f"code and tests of {words(6)}",
        }
        function = {"name": "emit_cmb", "arguments": json.dumps(said)}
        calls = [{"id": "call_0", "type": "function", "function": function}]
        message = {"role": "assistant", "content": None, "tool_calls": calls}
    reason = "stop" if model == SILENT else "tool_calls"
    return {
        "id": f"chatcmpl-{number}",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 20, "total_tokens": 1020},
    }
