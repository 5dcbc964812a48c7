"""A web server on this machine that publishes weights."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from pipeline.weights.files import WeightFile

CONTENT = bytes(range(256)) * 8192  # two blocks of the download loop
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Publisher(ThreadingHTTPServer):
    """A server of CONTENT, complete or damaged as the path says, that records the requested paths."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[str] = []

    def publish(self, path: str, sha256: str = SHA256) -> WeightFile:
        return WeightFile(url=f"http://127.0.0.1:{self.server_port}/{path}", sha256=sha256)


class Handler(BaseHTTPRequestHandler):
    """The handler of one request."""

    server: Publisher

    def do_GET(self) -> None:
        """Respond as the first folder of the path says."""
        self.server.requests.append(self.path)
        kind = self.path.split("/")[1]
        self.send_response(404 if kind == "absent" else 200)
        if kind == "chunked":
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"4\r\ncut \r\n")
            return
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write({"whole": CONTENT, "short": CONTENT[:1000], "other": CONTENT[::-1], "absent": b""}[kind])

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@contextmanager
def publish_weights() -> Iterator[Publisher]:
    """Run a publisher within a `with` block."""
    with Publisher() as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()
