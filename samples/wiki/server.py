"""The sample wiki on loopback: `python -m samples.wiki.server [--port N] [--second-wave]`, or `serve()` in code."""

import argparse
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from urllib.parse import parse_qsl, unquote, urlsplit

from samples.wiki import api, pages
from samples.wiki.content import CANONICAL, SampleWiki

ROBOTS = "User-agent: *\nDisallow: /wiki/Special:\n"
# The one picture of the site itself, which a gallery reader must not take for a drawing.
LOGO = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 120 120"><circle cx="60" cy="60" r="50" fill="#fcea2b" '
    'stroke="#000" stroke-width="5"/><circle cx="43" cy="50" r="6"/><circle cx="77" cy="50" r="6"/>'
    '<path d="M35 72q25 26 50 0" fill="none" stroke="#000" stroke-width="5" stroke-linecap="round"/></svg>'
)


class WikiHandler(BaseHTTPRequestHandler):
    """Answers one request; `wiki` and `base` are set by `serve`."""

    wiki: SampleWiki
    base: str
    protocol_version = "HTTP/1.1"
    server_version = "SampleWiki/1.0"
    disable_nagle_algorithm = True  # headers and body go in two writes; together with delayed ACKs that costs 40 ms
    timeout = 30  # seconds an idle connection may hold its thread

    def do_GET(self) -> None:
        self._answer(dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True)))

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        """api.php takes long requests as forms, too."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self._answer(dict(parse_qsl(f"{urlsplit(self.path).query}&{body}", keep_blank_values=True)))

    def _answer(self, params: dict[str, str]) -> None:
        path = unquote(urlsplit(self.path).path)
        if path == "/api.php":
            content = json.dumps(api.answer(self.wiki, self.base, params), ensure_ascii=False)
            self.send(200, content.encode(), "application/json; charset=utf-8")
        elif path == "/robots.txt":
            self.send(200, ROBOTS.encode(), "text/plain")
        elif path.startswith("/images/"):
            self._image(path)
        elif path == "/resources/assets/wiki.svg":
            self.send(200, LOGO.encode(), "image/svg+xml")
        else:
            self._page(path, params)

    def _image(self, path: str) -> None:
        """An original, or a thumbnail: the original's bytes, which the browser scales (nothing here can)."""
        parts = path.split("/")
        name = parts[5] if path.startswith("/images/thumb/") and len(parts) == 7 else parts[-1]
        file = self.wiki.by_name.get(name)
        if file is None or unquote(file.path) != "/".join(path.replace("/thumb", "", 1).split("/")[:5]):
            self.send(404, b"File not found\n", "text/plain")
            return
        etag = f'"{file.row["sha1"]}"'
        if self.headers.get("If-None-Match") == etag:
            self.send(304, b"", file.row["mime"], etag)
        else:
            self.send(200, self.wiki.data(file), file.row["mime"], etag)

    def _page(self, path: str, params: dict[str, str]) -> None:
        title = path.removeprefix("/wiki/").lstrip("/").replace("_", " ")
        html = pages.page(self.wiki, title, params.get("filefrom", ""))
        if html is None:
            self.send(404, f"<h1>There is no page {pages.escape(title)}</h1>".encode(), "text/html; charset=utf-8")
        else:
            self.send(200, html.encode(), "text/html; charset=utf-8")

    def send(self, status: int, body: bytes, kind: str, etag: str = "") -> None:
        """Send a whole answer."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if etag:
            self.send_header("ETag", etag)
        self.end_headers()
        if self.command != "HEAD" and status != 304:
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the wiki's log is of no use in a run's output."""


class RunningWiki:
    """A server in a thread of its own: `url` is its address, `api_url` its api.php; `stop()` ends it."""

    def __init__(self, server: ThreadingHTTPServer, url: str):
        self._server, self.url, self.api_url = server, url, f"{url}/api.php"
        self._thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def wait(self) -> None:
        """Block until the server stops."""
        self._thread.join()

    def __enter__(self) -> "RunningWiki":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def serve(
    port: int = 0,
    second_wave: bool = False,
    handler: type[WikiHandler] = WikiHandler,
    wiki: SampleWiki | None = None,
) -> RunningWiki:
    """Serve the sample wiki on 127.0.0.1; port 0 takes a free one. Use as a context manager, or call stop().

    Raises OSError when the port is taken.
    """
    bound = type("BoundHandler", (handler,), {"wiki": wiki or SampleWiki(second_wave)})
    server = ThreadingHTTPServer(("127.0.0.1", port), bound)
    server.daemon_threads = True
    bound.base = f"http://127.0.0.1:{server.server_address[1]}"  # type: ignore[attr-defined]
    return RunningWiki(server, bound.base)  # type: ignore[attr-defined]


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="Serve the sample wiki on loopback.")
    parser.add_argument("--port", type=int, default=urlsplit(CANONICAL).port)
    parser.add_argument("--second-wave", action="store_true", help="with the ten later uploads")
    options = parser.parse_args()
    with serve(options.port, options.second_wave) as running:
        print(f"sample wiki: {running.url}  (Ctrl-C stops it)", flush=True)
        try:
            running.wait()
        except KeyboardInterrupt:
            print()


if __name__ == "__main__":
    main()
