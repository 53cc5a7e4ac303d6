"""Local servers that speak as OpenAI, Anthropic and Ollama do, and misbehave on demand.

Real sockets, real HTTP, one thread per connection. Each request takes the next ``Reply`` of the
script (the last one is repeated) and is recorded with what a vendor would bill for it: a request
that was cut, hung or failed inside the vendor is billed at the worst a vendor could.
"""

import json
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

__all__ = [
    "FREE_STATUSES",
    "Dialect",
    "Reply",
    "Seen",
    "Vendor",
    "body_of",
    "closed_port",
    "cut",
    "drip",
    "fail",
    "garbage",
    "hang",
    "refusal",
    "say",
    "serve",
    "tool_call",
]

Dialect = Literal["openai", "anthropic", "ollama"]

FREE_STATUSES = frozenset({400, 401, 403, 404, 413, 422, 429, 529})


@dataclass(frozen=True)
class Reply:
    """One scripted answer. ``arguments`` as text is sent as it is; ``body`` overrides the whole."""

    act: Literal["answer", "hang", "cut", "drip"] = "answer"
    arguments: Any = None
    text: str = ""
    tool: str = "emit_cmb"
    more_calls: tuple[tuple[str, Any], ...] = ()
    refused: bool = False
    length: bool = False
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    output_tokens: int = 20
    states_usage: bool = True


def tool_call(arguments: Any, **more: Any) -> Reply:
    return Reply(arguments=arguments, **more)


def say(text: str, **more: Any) -> Reply:
    return Reply(text=text, **more)


def refusal(text: str = "I can't help with that.") -> Reply:
    return Reply(text=text, refused=True)


def fail(status: int, *, code: str = "", text: str = "no", **headers: str) -> Reply:
    """An HTTP error; a header's name is written with underscores: ``retry_after="7"``."""
    error = {"type": "error", "error": {"message": text, "type": code or "x", "code": code}}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status=status, headers=named, body=error)


def hang() -> Reply:
    """No byte of an answer, ever."""
    return Reply(act="hang")


def drip() -> Reply:
    """A byte of the body now and then, so that no single read takes long."""
    return Reply(act="drip")


def cut() -> Reply:
    """Half of the body, then the connection is closed."""
    return Reply(act="cut", arguments={"focus": "the answer that nobody saw whole"})


def garbage(body: bytes = b'{"id": "x", ') -> Reply:
    return Reply(body=body)


@dataclass(frozen=True)
class Seen:
    """A request as it came, and what it is billed."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]
    input_tokens: int
    output_tokens: int


class Vendor:
    """A running server: ``url`` to call it, ``seen`` for what came."""

    def __init__(self, dialect: Dialect, *replies: Reply) -> None:
        self.dialect = dialect
        self.replies = list(replies)
        self.seen: list[Seen] = []
        self.closing = threading.Event()
        self.arrived = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = False
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        base = f"http://127.0.0.1:{self._server.server_address[1]}"
        return base + "/v1" if self.dialect == "openai" else base

    def billed_nano(self, input_nano: int, output_nano: int) -> int:
        """What all requests so far cost at this price per token."""
        return sum(
            one.input_tokens * input_nano + one.output_tokens * output_nano for one in self.seen
        )

    def wait_for(self, count: int, timeout_s: float = 10.0) -> None:
        """Until ``count`` requests came; for callers in another thread."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.seen) >= count, timeout_s)

    def take(self, seen_path: str, headers: Mapping[str, str], body: dict[str, Any]) -> Reply:
        with self.arrived:
            reply = self.replies[min(len(self.seen), len(self.replies) - 1)]
            bill = _bill(reply, body)
            self.seen.append(Seen(seen_path, headers, body, *bill))
            self.arrived.notify_all()
        return reply

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def serve(dialect: Dialect, *replies: Reply) -> Iterator[Vendor]:
    with closing(Vendor(dialect, *replies)) as vendor:
        yield vendor


def closed_port() -> int:
    """A port of this machine on which nobody listens."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _bill(reply: Reply, body: dict[str, Any]) -> tuple[int, int]:
    """Tokens: one per byte of text, the most there can be, and all the output where unsure."""
    if reply.act == "answer" and reply.status in FREE_STATUSES:
        return 0, 0
    spoken = reply.act == "answer" and reply.status == 200
    return _input_tokens(body), reply.output_tokens if spoken else _max_tokens(body)


def _input_tokens(body: dict[str, Any]) -> int:
    texts = [body.get("system", ""), *(one["content"] for one in body.get("messages", []))]
    tools = json.dumps(body.get("tools", []), separators=(",", ":"))
    return sum(len(text.encode()) for text in texts) + len(tools.encode())


def _max_tokens(body: dict[str, Any]) -> int:
    options = body.get("options", {})
    limits = [body.get("max_tokens"), body.get("max_completion_tokens"), options.get("num_predict")]
    return next((limit for limit in limits if limit is not None), 0)


def body_of(dialect: Dialect, reply: Reply, input_tokens: int) -> dict[str, Any]:
    """The JSON that a vendor answers with."""
    calls = [] if reply.arguments is None else [(reply.tool, reply.arguments)]
    shape = {"openai": _openai, "anthropic": _anthropic, "ollama": _ollama}[dialect]
    return shape(reply, [*calls, *reply.more_calls], input_tokens)


def _openai(reply: Reply, calls: list[tuple[str, Any]], input_tokens: int) -> dict[str, Any]:
    functions = [
        {"name": name, "arguments": raw if isinstance(raw, str) else json.dumps(raw)}
        for name, raw in calls
    ]
    message: dict[str, Any] = {"role": "assistant", "content": reply.text or None}
    if reply.refused:
        message |= {"content": None, "refusal": reply.text}
    if functions:
        message["tool_calls"] = [
            {"id": f"call_{index}", "type": "function", "function": one}
            for index, one in enumerate(functions)
        ]
    reason = "length" if reply.length else "tool_calls" if functions else "stop"
    body: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
    }
    if reply.states_usage:
        total = input_tokens + reply.output_tokens
        body["usage"] = {
            "prompt_tokens": input_tokens,
            "completion_tokens": reply.output_tokens,
            "total_tokens": total,
        }
    return body


def _anthropic(reply: Reply, calls: list[tuple[str, Any]], input_tokens: int) -> dict[str, Any]:
    blocks: list[dict[str, Any]] = [{"type": "text", "text": reply.text}] if reply.text else []
    blocks += [
        {"type": "tool_use", "id": f"toolu_{index}", "name": name, "input": raw}
        for index, (name, raw) in enumerate(calls)
    ]
    reason = "max_tokens" if reply.length else "tool_use" if calls else "end_turn"
    body: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": blocks,
        "stop_reason": "refusal" if reply.refused else reason,
        "stop_sequence": None,
    }
    if reply.states_usage:
        cached = input_tokens // 4
        body["usage"] = {
            "input_tokens": input_tokens - 2 * cached,
            "cache_creation_input_tokens": cached,
            "cache_read_input_tokens": cached,
            "output_tokens": reply.output_tokens,
        }
    return body


def _ollama(reply: Reply, calls: list[tuple[str, Any]], input_tokens: int) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": reply.text}
    if calls:
        message["tool_calls"] = [{"function": {"name": name, "arguments": a}} for name, a in calls]
    body: dict[str, Any] = {
        "model": "m",
        "created_at": "2025-01-01T00:00:00Z",
        "message": message,
        "done": True,
        "done_reason": "length" if reply.length else "stop",
    }
    if reply.states_usage:
        body |= {"prompt_eval_count": input_tokens, "eval_count": reply.output_tokens}
    return body


def _handler(vendor: Vendor) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            reply = vendor.take(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
            self.close_connection = True
            try:
                data = _bytes(vendor.dialect, reply, body)
                _perform(reply, data, self._head, self.wfile.write, vendor)
            except (BrokenPipeError, ConnectionResetError):
                return  # the client left, as many a test wants it to

        def _head(self, reply: Reply, length: int) -> None:
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(length))
            self.send_header("connection", "close")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Silence: a test reads ``seen``."""

    return Handler


def _bytes(dialect: Dialect, reply: Reply, asked: dict[str, Any]) -> bytes:
    if isinstance(reply.body, bytes):
        return reply.body
    if reply.body is not None:
        return json.dumps(reply.body).encode()
    return json.dumps(body_of(dialect, reply, _bill(reply, asked)[0])).encode()


def _perform(
    reply: Reply,
    body: bytes,
    head: Callable[[Reply, int], None],
    write: Callable[[bytes], int],
    vendor: Vendor,
) -> None:
    if reply.act == "hang":
        vendor.closing.wait(30)
        return
    head(reply, len(body))
    if reply.act == "drip":
        for index in range(len(body)):
            write(body[index : index + 1])
            if vendor.closing.wait(0.02):
                return
        return
    write(body[: len(body) // 2] if reply.act == "cut" else body)
