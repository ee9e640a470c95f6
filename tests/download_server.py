"""A loopback server that misbehaves as it is told, for the tests of the download scripts."""

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@dataclass
class Served:
    """One file of the server, and how it misbehaves."""

    content: bytes
    drops: list[int] = field(default_factory=list)  # bytes after which each connection is cut, in turn
    statuses: list[int] = field(default_factory=list)  # answered before the file is
    ranges: bool = True
    stall: threading.Event | None = None  # waits for it in the middle of the file
    starts: list[int] = field(default_factory=list)  # where each request began


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, Served] = {}

    def url(self, path: str = "") -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"

    def serve(self, path: str, content: bytes, **how: object) -> Served:
        self.files[f"/{path}"] = Served(content, **how)
        return self.files[f"/{path}"]

    def handle_error(self, *_: object) -> None:
        """A client that was killed is no error here."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        served = self.server.files.get(self.path)
        if served is None or served.statuses:
            self.send_error(served.statuses.pop(0) if served else 404)
            return
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")) if served.ranges else None
        start = int(asked[1]) if asked else 0
        served.starts.append(start)
        if start >= len(served.content):
            self.send_error(416)
            return
        rest = served.content[start:]
        self.send_response(206 if asked else 200)
        if asked:
            last = len(served.content) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{len(served.content)}")
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if served.stall:
            self.wfile.write(rest[: len(rest) // 2])
            self.wfile.flush()
            served.stall.wait(30)
        else:
            self.wfile.write(rest[: served.drops.pop(0)] if served.drops else rest)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def serving() -> Iterator[Server]:
    """A server that answers until the block ends."""
    made = Server()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as made:
        yield made


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
