"""One page, served on this machine alone."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from sld_user_dir.errors import InputError

LOOPBACK = "127.0.0.1"


def page_server(html: str, port: int = 0) -> ThreadingHTTPServer:
    """A server of the page at `/`, on the loopback address; `serve_forever` runs it.

    Args:
        port: 0 for any that is free.

    Raises:
        InputError: the port is taken, or none.
    """
    content = html.encode("utf-8")

    class PageHandler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path.partition("?")[0] == "/" and self._is_local()
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(content) if found else 0))
            self.end_headers()
            if found:
                self.wfile.write(content)

        def _is_local(self) -> bool:
            """A page elsewhere must not read this one through a name of its own that points here."""
            return self.headers.get("Host", "").rpartition(":")[0] in (LOOPBACK, "localhost")

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: the terminal tells the address, and no more."""

    try:
        return ThreadingHTTPServer((LOOPBACK, port), PageHandler)
    except (OSError, OverflowError) as error:
        raise InputError(f"--port {port}", str(error), "take another, or 0 for any that is free") from None
