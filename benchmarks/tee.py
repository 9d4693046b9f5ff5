"""A relay in front of InfluxDB that notes when it confirmed what: latency without asking the database."""

from __future__ import annotations

import re
import threading
import time
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from tests.servers.influxdb import InfluxDB

_PUBLISHED = re.compile(rb"published=([0-9.e+]+)")


class Tee:
    """Passes requests on; `latencies` are the seconds from publication (`published`, ns) to a 204."""

    def __init__(self, influxdb: InfluxDB) -> None:
        self.latencies: list[float] = []
        latencies = self.latencies

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                self.far = HTTPConnection(influxdb.host, influxdb.port)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.far.request("POST", self.path, body, dict(self.headers))
                response = self.far.getresponse()
                answer = response.read()
                now = time.time_ns()
                if response.status == 204:
                    latencies.extend((now - float(at)) / 1e9 for at in _PUBLISHED.findall(body))
                self.send_response(response.status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_request(self, code: object = "-", size: object = "-") -> None:
                pass

        self._server = ThreadingHTTPServer((influxdb.host, 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://{influxdb.host}:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
