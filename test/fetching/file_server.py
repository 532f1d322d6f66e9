"""A server of one file, for what downloads it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

CONTENT = np.random.default_rng(0).bytes(3_000_000)


@contextmanager
def file_server() -> Iterator[ThreadingHTTPServer]:
    """Serve `CONTENT` at ``url``. Attributes of the server say what to serve and which connections to cut."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.content, server.asked, server.cuts, server.ranges, server.status = CONTENT, [], [], True, 200
    server.url = f"http://127.0.0.1:{server.server_port}/weights/file.npy"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


class Handler(BaseHTTPRequestHandler):
    """Serves one file with ranges, as Apache does, and cuts connections where told."""

    def do_GET(self):
        shop = self.server
        shop.asked.append(self.headers.get("Range"))
        if shop.status != 200:
            return self.send_error(shop.status)
        tag = f'"{hashlib.sha256(shop.content).hexdigest()}"'
        asked, start = self.headers.get("Range"), 0
        if shop.ranges and asked and self.headers.get("If-Range") == tag:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(shop.content):
                return self.send_error(416)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(shop.content) - 1}/{len(shop.content)}")
        else:
            self.send_response(200)
        if shop.ranges:
            self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(shop.content) - start))
        self.end_headers()
        end = shop.cuts.pop(0) if shop.cuts else None
        self.wfile.write(shop.content[start : None if end is None else start + end])

    def log_message(self, *_):
        pass
