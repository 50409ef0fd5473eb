"""A web server on this machine's loopback that behaves as badly as it is asked to.

The first part of an address says how the file is served: ``/well/a.gz``, ``/truncated/a.gz``, ...
"""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Served(NamedTuple):
    """A running server."""

    address: str  # http://127.0.0.1:PORT
    requests: Counter  # path -> how often it was asked for


class Handler(BaseHTTPRequestHandler):
    """Serve the server's `content`: path below the behaviour -> bytes."""

    def do_GET(self):
        self.server.asked[self.path] += 1
        behaviour, _, name = self.path.lstrip("/").partition("/")
        content = self.server.content.get(name)
        if content is None:
            self.send_error(404)
        else:
            getattr(self, behaviour)(content)

    def head(self, length, **headers):
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def well(self, content):
        self.head(len(content))
        self.wfile.write(content)

    def truncated(self, content):
        """Promise all of it and close after one half."""
        self.head(len(content))
        self.wfile.write(content[: len(content) // 2])

    def broken_once(self, content):
        (self.well if self.server.asked[self.path] > 1 else self.truncated)(content)

    def short(self, content):
        """Promise one half and keep the promise: only the size tells."""
        self.well(content[: len(content) // 2])

    def corrupt(self, content):
        """Change the last bit."""
        self.well(content[:-1] + bytes([content[-1] ^ 1]))

    def decoded(self, content):
        """Declare the packing as a property of the transfer, as some servers do."""
        self.head(len(content), Content_Encoding="gzip")
        self.wfile.write(content)

    def endless(self, content):
        """Send far more than there is."""
        self.send_response(200)
        self.end_headers()
        for _ in range(1000):
            self.wfile.write(content * 1000)

    def stall(self, content):
        """Send one half, then nothing."""
        self.head(len(content))
        self.wfile.write(content[: len(content) // 2])
        self.wfile.flush()
        self.server.closing.wait(timeout=60)

    def silent(self, content):
        """Take the request and never answer."""
        self.server.closing.wait(timeout=60)

    def busy(self, content):
        self.send_error(503)

    def busy_twice(self, content):
        (self.well if self.server.asked[self.path] > 2 else self.busy)(content)

    def log_message(self, *arguments):
        """Say nothing."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.asked, self.closing = content, Counter(), threading.Event()

    def handle_error(self, request, client_address):
        """Say nothing when a client hangs up, as it should on an endless file."""


@contextmanager
def serve(content: Mapping[str, bytes]) -> Iterator[Served]:
    """Serve `content` until the block ends."""
    server = Server(content)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield Served(f"http://127.0.0.1:{server.server_port}", server.asked)
    finally:
        server.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
